"""Everything that can be done, in one table: menus, toolbar, palette, shortcuts and help are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app import (
    cancelling,
    cine,
    comparing,
    diagnostics,
    documents,
    exporting,
    filming,
    findings,
    hanging,
    hottest,
    impressions,
    key_images,
    last_session,
    layering,
    layout,
    linking,
    measurement_files,
    measuring,
    model_queue,
    oblique,
    opening,
    panes,
    preferences,
    presentations,
    printing,
    saving,
    second_axis,
    undoing,
    viewing,
    volume_view,
)
from medviewer.app.conditions import (
    always,
    has_answer,
    has_collection,
    has_cut,
    has_grey_levels,
    has_hangings,
    has_image,
    has_images,
    has_jobs,
    has_panes,
    has_pixels,
    has_restorable,
    has_scene,
    has_shutters,
    has_stack,
    has_stored_image,
    has_view,
    may_decide,
    may_run,
)
from medviewer.app.decisions import decide
from medviewer.app.note_models import explain_note, run_on_note
from medviewer.app.patient import import_records
from medviewer.app.presets import CT_PRESETS
from medviewer.app.record_models import run_on_record
from medviewer.app.shortcuts import Changes, checked
from medviewer.app.state import State
from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.imaging.palettes import PALETTE_NAMES, PALETTES

if TYPE_CHECKING:  # the table is read by the application that it acts on
    from medviewer.app.application import Application

Title = Mapping[str, str]
"""The same words by language: ``{"en": ..., "zh": ...}``."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One argument that a command is offered with, under its own name and shortcut."""

    argument: Any
    title: Title
    shortcut: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that the reader can do.

    Attributes:
        id: ``noun.verb``, stable.
        title: what menus say, by language.
        run: called with the application and the argument (None where none was given).
        enabled: whether it makes sense now.
        menu: which menu it is in ("file", "view", ...); empty for none.
        shortcut: a key sequence as Qt writes it ("Ctrl+O"); empty for none.
        icon: the icon's name; empty for none.
        more_shortcuts: further key sequences.
        choices: arguments that it is offered with, a sub-menu.
        needs_argument: it means nothing without one, so that only panels and the viewport ask for it.
    """

    id: str
    title: Title
    run: Callable[[Application, Any], None]
    enabled: Callable[[State], bool]
    menu: str = ""
    shortcut: str = ""
    icon: str = ""
    more_shortcuts: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    needs_argument: bool = False


MENUS: Mapping[str, Title] = MappingProxyType(
    {
        "file": {"en": "File", "zh": "文件"},
        "edit": {"en": "Edit", "zh": "编辑"},
        "view": {"en": "View", "zh": "视图"},
        "image": {"en": "Image", "zh": "图像"},
        "layout": {"en": "Layout", "zh": "布局"},
        "volume": {"en": "3D", "zh": "三维"},
        "tool": {"en": "Tools", "zh": "工具"},
        "measure": {"en": "Measure", "zh": "测量"},
        "document": {"en": "Document", "zh": "文档"},
        "model": {"en": "Model", "zh": "模型"},
        "help": {"en": "Help", "zh": "帮助"},
    }
)
"""The menus in their order."""


def choices_now(row: Command, state: State) -> tuple[Choice, ...]:
    """What a command is offered with now: hanging protocols by their own names, and as many as there are."""
    if row.id != "layout.hang":
        return row.choices
    keys = [choice.shortcut for choice in row.choices] + [""] * len(state.hanging)
    return tuple(Choice(n, named(one.name), keys[n]) for n, one in enumerate(state.hanging))


def named(name: str) -> Title:
    """The title of a hanging protocol: the reader's own words, or the program's in both languages."""
    return _t(name, _HANGING_NAMES.get(name, name))


def command(command_id: str) -> Command:
    """The command of that id.

    Raises:
        UsageError: there is none.
    """
    try:
        return COMMANDS[command_id]
    except KeyError:
        msg = f"There is no command {command_id!r}."
        raise UsageError(msg) from None


def _end_comparison(app: Application, _argument: object) -> None:
    """The image alone again, with the first method's heat map."""
    comparing.leave(app)


def _show(what: Any) -> Callable[[Application, Any], None]:
    return lambda app, _argument: app.front.show_dialog(what)


def _quit(app: Application, _argument: Any) -> None:
    app.front.close_window()


def _use_language(app: Application, language: str) -> None:
    """Speak another language from now on."""
    chosen = "zh" if str(language).lower().startswith("zh") else "en"
    app.session.update(language=chosen)
    app.remember(language=chosen)


def _use_shortcuts(app: Application, changes: Changes) -> None:
    """Listen to other keys from now on."""
    usable = checked(COMMANDS, changes)
    app.session.update(shortcuts=usable)
    app.remember(shortcuts=usable)


def _t(en: str, zh: str) -> Title:
    return MappingProxyType({"en": en, "zh": zh})


_MENU_OF = {"series": "image", "layer": "view", "explain": "model", "finding": "model", "job": "model", "app": "help"}


def _row(
    text: str,
    run: Callable[[Application, Any], None],
    enabled: Callable[[State], bool],
    *,
    menu: str | None = None,
    choices: tuple[Choice, ...] = (),
) -> Command:
    """A command of a menu; ``text`` is ``id|English|Chinese|shortcuts with spaces between|icon``."""
    command_id, en, zh, keys, icon = [*text.split("|"), "", ""][:5]
    noun = command_id.partition(".")[0]
    first, *more = keys.split() or [""]
    where = _MENU_OF.get(noun, noun) if menu is None else menu
    title = _t(en, zh)
    return Command(command_id, title, run, enabled, where, first, icon, tuple(more), choices, bool(choices))


def _asked(text: str, run: Callable[[Application, Any], None], enabled: Callable[[State], bool]) -> Command:
    """A command that panels and the viewport ask for, with an argument."""
    return replace(_row(text, run, enabled, menu=""), needs_argument=True)


_PRESETS = (
    Choice(0, _t("Automatic", "自动"), "0"),
    *(
        Choice(n, _t(f"{n} (CT: {CT_PRESETS[n].name.lower()})", f"{n} (CT: {name})"), str(n))
        for n, name in enumerate(("脑", "卒中", "硬膜下", "软组织", "纵隔", "肝", "肺", "骨", "血管"), start=1)
    ),
)
_PALETTES = (
    Choice("", _t("Grey", "灰阶")),
    *(
        Choice(name, _t(PALETTE_NAMES[name], zh))
        for name, zh in zip(PALETTES, ("热铁", "PET", "热金属蓝", "PET，20 级"), strict=True)
    ),
)
_SHAPES = tuple(
    Choice(shape, _t(f"{shape[0]} × {shape[1]}", f"{shape[0]} × {shape[1]}"), f"Ctrl+{number}" if number < 5 else "")
    for number, shape in enumerate(layout.LAYOUTS, start=1)
)
_HANGING_NAMES = {
    "Mammography, prior on a second screen": "乳腺摄影，既往在第二屏幕",
    "Mammography, current above prior": "乳腺摄影，本次在上、既往在下",
    "Mammography, four views": "乳腺摄影，四个体位",
    "Chest PA, current and prior": "胸部后前位，本次与既往",
    "Chest PA and lateral": "胸部后前位与侧位",
    "CT or MR, one viewport": "CT 或 MR，单视口",
    "CT or MR, three planes": "CT 或 MR，三个平面",
    "As it comes": "按原顺序",
}
_HANGINGS = tuple(Choice(n - 1, _t(f"No. {n}", f"第 {n} 个"), f"Ctrl+Alt+{n}") for n in range(1, 10))
_SLABS = (
    Choice((0.0, "mean"), _t("None", "无")),
    Choice((5.0, "mean"), _t("Mean, 5 mm", "平均，5 mm")),
    Choice((10.0, "max"), _t("MIP, 10 mm", "最大密度投影，10 mm")),
    Choice((20.0, "max"), _t("MIP, 20 mm", "最大密度投影，20 mm")),
    Choice((10.0, "min"), _t("MinIP, 10 mm", "最小密度投影，10 mm")),
)
_SIDES = tuple(
    Choice(side, _t(en, zh), f"Shift+{side}")
    for side, en, zh in (
        ("A", "Front (A)", "前面 (A)"), ("P", "Back (P)", "后面 (P)"), ("R", "Right (R)", "右侧 (R)"),
        ("L", "Left (L)", "左侧 (L)"), ("H", "Head (H)", "头侧 (H)"), ("F", "Feet (F)", "足侧 (F)"),
    )
)  # fmt: skip
_CROPS = tuple(
    Choice((side, steps), _t(en, zh), keys)
    for side, *names in (
        ("A", "the front (A)", "前面 (A)"), ("P", "the back (P)", "后面 (P)"), ("R", "the right (R)", "右侧 (R)"),
        ("L", "the left (L)", "左侧 (L)"), ("H", "the head (H)", "头侧 (H)"), ("F", "the feet (F)", "足侧 (F)"),
    )
    for steps, en, zh, keys in (
        (1, f"More from {names[0]}", f"从{names[1]}多裁剪", f"Alt+Shift+{side}"),
        (-1, f"Less from {names[0]}", f"从{names[1]}少裁剪", ""),
    )
)  # fmt: skip
_SCENE_PRESETS = tuple(
    Choice(n, _t(f"{n} (CT: {en})", f"{n} (CT: {zh})"), f"Alt+{n}")
    for n, (en, zh) in enumerate(
        (("bone", "骨"), ("vessels", "血管"), ("lung and airways", "肺与气道"), ("soft tissue", "软组织"),
         ("MIP", "最大密度投影")), start=1)
)  # fmt: skip
_TURNS = tuple(
    Choice((across * volume_view.TURN_DEG, down * volume_view.TURN_DEG), _t(en, zh), f"Alt+{key}")
    for across, down, en, zh, key in (
        (-1, 0, "Left", "向左", "Left"), (1, 0, "Right", "向右", "Right"), (0, -1, "Up", "向上", "Up"),
        (0, 1, "Down", "向下", "Down"),
    )
)  # fmt: skip
_MOVES = tuple(
    Choice((right, down), _t(en, zh), f"Shift+{key}")
    for right, down, en, zh, key in (
        (-1, 0, "Left", "向左", "Left"), (1, 0, "Right", "向右", "Right"), (0, -1, "Up", "向上", "Up"),
        (0, 1, "Down", "向下", "Down"),
    )
)  # fmt: skip
_ADJUSTMENTS = tuple(
    Choice((wider, brighter), _t(en, zh), f"Ctrl+Shift+{key}")
    for wider, brighter, en, zh, key in (
        (1, 0, "Wider", "更宽", "Right"), (-1, 0, "Narrower", "更窄", "Left"), (0, 1, "Brighter", "更亮", "Up"),
        (0, -1, "Darker", "更暗", "Down"),
    )
)  # fmt: skip
_LANGUAGES = (Choice("en", _t("English", "English")), Choice("zh", _t("Chinese", "简体中文")))

_ROWS = (
    _row("file.open_folder|Open folder…|打开文件夹…|Ctrl+O|folder-open", opening.open_folder, always),
    _row("file.open_files|Open files…|打开文件…|Ctrl+Shift+O|file-up", opening.open_files, always),
    _asked("file.open_recent|Open recent|打开最近的||history", opening.open_recent, always),
    _row("file.restore|Open what was open|打开上次所打开的||rotate-ccw-clock", last_session.restore, has_restorable),
    _asked("file.forget_restore|Do not open what was open|不打开上次所打开的", last_session.forget, always),
    _row("file.open_sample|Open sample study|打开示例检查||chest", opening.open_sample, always),
    _row("file.import_records|Import patient records (FHIR)…|导入患者记录 (FHIR)…||user", import_records, always),
    _row("file.save_results|Save results…|保存结果…|Ctrl+S|save", saving.save, has_answer),
    _row("file.save_keys|Save key images (DICOM KO)…|保存关键图像 (DICOM KO)…||star", key_images.save,
         key_images.has_own),
    _row("file.export_image|Export image…|导出图像…|Ctrl+Shift+E|image-down", exporting.export_image, has_pixels),
    _row("file.export_film|Export film…|导出影片…|Ctrl+Shift+M|film", filming.export_film, has_stack),
    _row("file.copy_image|Copy image|复制图像|Ctrl+C|copy", exporting.copy_image, has_pixels),
    _row("file.copy_identity|Copy image with identity|复制图像（含身份）|Ctrl+Shift+C|copy",
         exporting.copy_image_with_identity, has_pixels),
    _row("file.print|Print…|打印…|P Ctrl+P|printer", printing.print_images, has_pixels),
    _row("file.close|Close studies|关闭检查|Ctrl+W|x", opening.close_all, has_collection),
    _row("app.quit|Quit|退出|Ctrl+Q|log-out", _quit, always, menu="file"),
    _row("edit.undo|Undo|撤销|Ctrl+Z|undo-2", undoing.undo, has_image),
    _row("edit.redo|Redo|重做|Ctrl+Y Ctrl+Shift+Z|redo-2", undoing.redo, has_image),
    _row("view.fit|Fit to window|适合窗口|F|maximize", viewing.fit, has_view),
    _row("view.actual_size|Actual pixels (1:1)|实际像素 (1:1)|Shift+1 !|actual-size", viewing.actual_size, has_image),
    _row("view.zoom_in|Zoom in|放大|Ctrl++ + = Ctrl+=|zoom-in", viewing.zoom_by(viewing.ZOOM_STEP), has_view),
    _row("view.zoom_out|Zoom out|缩小|Ctrl+- -|zoom-out", viewing.zoom_by(1 / viewing.ZOOM_STEP), has_view),
    _row("view.preset|Window preset|窗宽窗位预设||contrast", viewing.use_preset, has_pixels, choices=_PRESETS),
    _row("view.own_window|Next window or look-up table of the file|文件中的下一个窗或查找表|Shift+W|contrast",
         viewing.use_next_own, has_grey_levels),
    _row("view.adjust|Adjust the window|调整窗宽窗位||contrast", viewing.adjust_window, has_pixels,
         choices=_ADJUSTMENTS),
    _row("view.move|Move the picture|移动图像||move", viewing.move_by, has_pixels, choices=_MOVES),
    _row("view.invert|Invert|反相|Shift+I|invert", viewing.invert, has_image),
    _row("view.palette|Colour palette|伪彩色||palette", viewing.use_palette, has_grey_levels, choices=_PALETTES),
    _row("view.rotate_left|Rotate left|向左旋转|Ctrl+L|rotate-ccw-square", viewing.rotate(1), has_image),
    _row("view.rotate_right|Rotate right|向右旋转|Ctrl+R|rotate-cw-square", viewing.rotate(-1), has_image),
    _row("view.flip_horizontal|Flip left-right|左右翻转|H|flip-horizontal-2", viewing.flip_sideways, has_image),
    _row("view.flip_vertical|Flip top-bottom|上下翻转|V|flip-vertical-2", viewing.flip_upside_down, has_image),
    _row("view.reset|Reset view|重置视图|Esc|refresh-ccw", viewing.reset, has_view),
    _row("view.smooth|Smooth or pixels|平滑或像素|Shift+S|image", viewing.toggle_smooth, has_image),
    _row("view.magnifier|Magnifier on or off|放大镜开或关|Q|zoom-in", viewing.toggle_magnifier, has_image),
    _row("view.corner_text|More or less corner text|角落文字多或少|I|captions", viewing.next_text, has_image),
    _row("view.drawings|Hide or show the file's drawings|隐藏或显示文件中的标注|G|pencil", viewing.toggle_drawings,
         has_image),
    _row("view.shutters|Cover or show what shutters cover|遮住或显示被遮挡的图像|Alt+G|square-dashed",
         viewing.toggle_shutters, has_shutters),
    _row("view.next_presentation|Show as in the next presentation state|按下一显示状态显示|Shift+G|layers-2",
         presentations.show_next, presentations.has_presentations),
    _asked("view.presentation|Show as in a presentation state|按显示状态显示", presentations.show, has_image),
    _row("view.hide_identity|Hide or show identity|隐藏或显示身份|Ctrl+H|eye-off", viewing.toggle_identity, always),
    _row("view.panels|Hide or show panels|隐藏或显示面板|Tab|panel-left", viewing.toggle_panels, always),
    _asked("view.window|Window|窗", viewing.set_window, has_pixels),
    _asked("view.place|Zoom and centre|缩放与中心", viewing.set_place, has_image),
    _asked("view.settle|End of a drag|拖动结束", viewing.settle, always),
    _row("image.previous|Previous image|上一幅|Up PgUp|arrow-up", opening.step_image(-1), has_stack),
    _row("image.next|Next image|下一幅|Down PgDown|arrow-down", opening.step_image(1), has_stack),
    _row("image.first|First image|第一幅|Home|skip-back", opening.first_image, has_stack),
    _row("image.last|Last image|最后一幅|End|skip-forward", opening.last_image, has_stack),
    _row("image.cine|Play or stop|播放或停止|C|circle-play", cine.toggle, has_stack),
    _row("image.cine_faster|Cine faster|加快播放|.|chevrons-up", cine.change_pace(1), has_stack),
    _row("image.cine_slower|Cine slower|减慢播放|,|chevrons-down", cine.change_pace(-1), has_stack),
    _row("image.cine_pace|Cine at its own pace|按原速播放||clock", cine.change_pace(0), has_stack),
    _row("image.cine_way|Cine in time or through the slices|沿时间或沿层面播放|Shift+C|clock", cine.toggle_way,
         second_axis.has_volumes),
    _row("image.previous_volume|Previous time, echo or b-value|上一时间、回波或 b 值|Ctrl+Up [|chevrons-up",
         second_axis.step_volume(-1), second_axis.has_volumes),
    _row("image.next_volume|Next time, echo or b-value|下一时间、回波或 b 值|Ctrl+Down ]|chevrons-down",
         second_axis.step_volume(1), second_axis.has_volumes),
    _row("image.key|Mark or unmark as key image|标记或取消关键图像|K|star", key_images.toggle, key_images.can_mark),
    _row("image.next_key|Next key image|下一关键图像|Shift+K|chevron-right", key_images.step(1), key_images.has_any),
    _row("image.previous_key|Previous key image|上一关键图像|Ctrl+Shift+K|chevron-left", key_images.step(-1),
         key_images.has_any),
    _row("image.keys_only|Scroll through key images only|仅翻阅关键图像|Alt+K|star", key_images.toggle_only,
         key_images.may_filter),
    _row("image.take_keys|Mark the key images of documents|标记文档中的关键图像||star", key_images.take_named,
         key_images.can_take),
    _row("image.tags|DICOM elements…|DICOM 元素…|Ctrl+I|list-tree", opening.show_elements, has_view),
    _asked("image.play_on|Next image of the cine|下一幅", cine.play_on, has_stack),
    _asked("image.show|Show image|显示图像", opening.scroll_to, has_stack),
    _asked("image.show_volume|Show time, echo or b-value|显示时间、回波或 b 值", second_axis.show_volume,
           second_axis.has_volumes),
    _asked("image.select|Select image|选择图像", opening.select, always),
    _row("series.previous|Previous series|上一序列|Left|arrow-left", opening.step_series(-1), has_image),
    _row("series.next|Next series|下一序列|Right|arrow-right", opening.step_series(1), has_image),
    _row("layout.use|Viewports|视口||layout-grid", layout.use_layout, has_images, choices=_SHAPES),
    _row("layout.hang|Hanging protocol|挂片方案||layout-grid", hanging.hang, has_hangings, choices=_HANGINGS),
    _row("layout.protocols|Hanging protocols…|挂片方案设置…|Ctrl+Alt+H|settings", hanging.edit, always),
    _asked("layout.use_protocols|Use these hanging protocols|使用这些挂片方案", hanging.use_protocols, always),
    _row("layout.prior|Compare with prior|与既往对比|Ctrl+E|columns-2", layout.compare_with_prior, has_image),
    _row("layout.planes|Other planes (MPR)|多平面重建 (MPR)|M|box", layout.show_planes, has_stack),
    _row("layout.slab|Slab|层厚||layers-2", layout.use_slab, has_cut, choices=_SLABS),
    _row("layout.turn_left|Tilt the other planes left|其他平面向左倾斜|Ctrl+Alt+Left|rotate-ccw", oblique.turn_by(1),
         oblique.has_planes),
    _row("layout.turn_right|Tilt the other planes right|其他平面向右倾斜|Ctrl+Alt+Right|rotate-cw", oblique.turn_by(-1),
         oblique.has_planes),
    _row("layout.straighten|Straighten the planes|恢复正交平面|Ctrl+Alt+Home|axis-3d", oblique.straighten,
         oblique.is_tilted),
    _asked("layout.turn|Tilt the other planes|倾斜其他平面", oblique.turn, oblique.has_planes),
    _asked("layout.move_plane|Move a plane|移动平面", oblique.move_plane, oblique.has_planes),
    _row("layout.second_window|Second image window|第二图像窗口|Ctrl+Alt+W|app-window", layout.toggle_second, always),
    _row("layout.next_screen|Move to the next screen|移到下一屏幕|Ctrl+Alt+S|monitor", layout.to_next_screen, always),
    _row("layout.link|Scroll together or apart|联动或独立翻页|L|link", layout.toggle_link, has_image),
    _row("layout.next|Next viewport|下一视口|Ctrl+Tab|square-arrow-right", panes.next_pane, has_panes),
    _row("layout.maximise|One viewport or all|单个或全部视口|Ctrl+M|maximize-2", layout.maximise, has_panes),
    _asked("layout.activate|Work in a viewport|使用视口", panes.activate, always),
    _asked("layout.point|Show a place in every viewport|在各视口中定位", linking.point_at, has_pixels),
    _row("volume.show|3D view or images|三维视图或图像|Shift+V|rotate-3d", volume_view.toggle, has_stack),
    _row("volume.preset|3D preset|三维预设||palette", volume_view.use_preset, has_scene, choices=_SCENE_PRESETS),
    _row("volume.look|Look at|观察方向||locate", volume_view.look, has_scene, choices=_SIDES),
    _row("volume.turn|Turn|旋转||refresh-ccw", volume_view.turn, has_scene, choices=_TURNS),
    _row("volume.roll_left|Roll left|向左倾转|Alt+,", volume_view.roll(-volume_view.TURN_DEG), has_scene),
    _row("volume.roll_right|Roll right|向右倾转|Alt+.", volume_view.roll(volume_view.TURN_DEG), has_scene),
    _row("volume.zoom_in|Zoom in 3D|放大三维视图|Alt++ Alt+=", volume_view.zoom(volume_view.ZOOM_STEP), has_scene),
    _row("volume.zoom_out|Zoom out 3D|缩小三维视图|Alt+-", volume_view.zoom(1 / volume_view.ZOOM_STEP), has_scene),
    _row("volume.cut_deeper|Cut away more in front|从前方多切除|Alt+PgDown", volume_view.cut(1), has_scene),
    _row("volume.cut_less|Cut away less in front|从前方少切除|Alt+PgUp", volume_view.cut(-1), has_scene),
    _row("volume.handles|Crop box with handles|带控点的裁剪框|Alt+C|box", volume_view.toggle_handles, has_scene),
    _row("volume.crop|Crop by steps|逐步裁剪||box", volume_view.crop, has_scene, choices=_CROPS),
    _row("volume.uncrop|Show all sides again|取消裁剪|Alt+Shift+Home", volume_view.uncrop, volume_view.is_cropped),
    _row("volume.fit|Show all of the volume|显示整个体积|Alt+0", volume_view.fit, has_scene),
    _row("volume.reset|Reset 3D view|重置三维视图|Alt+Home", volume_view.reset, has_scene),
    _asked("volume.crop_to|Move a side of the crop box|移动裁剪框的一面", volume_view.crop_to, has_scene),
    _asked("volume.camera|Look from there|改变视角", volume_view.set_camera, has_scene),
    _asked("volume.window|Window of the 3D view|三维视图的窗", volume_view.set_window, has_scene),
    _asked("volume.hold|Begin of a drag in 3D|三维拖动开始", volume_view.hold, has_scene),
    _asked("volume.settle|End of a drag in 3D|三维拖动结束", volume_view.settle, has_scene),
    _asked("volume.room|Size of the 3D view|三维视图大小", volume_view.set_room, has_scene),
    _row("layer.toggle|Hide or show layers|隐藏或显示图层|O|layers-2", layering.toggle, layering.has_layers),
    _row("layer.next|Lay the next series over|叠加下一序列|Shift+O|layers", layering.lay_next, has_image),
    _asked("layer.lay|Lay over the image|叠加到图像", layering.lay, has_image),
    _asked("layer.remove|Take a layer away|移除图层", layering.remove, has_image),
    _asked("layer.change|Change a layer|更改图层", layering.change, has_image),
    _row("tool.window|Window/level|窗宽窗位|W|contrast", viewing.use_tool("window"), always),
    _row("tool.pan|Pan|平移|T|move", viewing.use_tool("pan"), always),
    _row("tool.zoom|Zoom|缩放|Z|zoom-in", viewing.use_tool("zoom"), always),
    _row("tool.scroll|Scroll|翻页|S|layers", viewing.use_tool("scroll"), always),
    *(_row(text, viewing.use_tool(text[5 : text.index("|")]), always, menu="measure") for text in (
        "tool.length|Length|长度|D|ruler",
        "tool.angle|Angle|角度|A|angle",
        "tool.cobb|Cobb angle|Cobb 角||cobb",
        "tool.bidirectional|Long and short axis|长径与短径||long-short",
        "tool.rectangle|Rectangle region|矩形区域|R|square-dashed",
        "tool.ellipse|Ellipse region|椭圆区域|E|ellipse",
        "tool.freehand|Freehand region|手绘区域||lasso",
        "tool.probe|Value at a point|单点数值||crosshair",
        "tool.cardiothoracic|Cardiothoracic ratio|心胸比||heart-width",
        "tool.calibration|Calibrate…|校准…||ruler-dimension-line",
    )),
    _row("measure.rename|Name the measurement…|命名测量…||pencil", measuring.rename, measuring.has_selected),
    _row("measure.delete|Delete the measurement|删除测量|Del Backspace|trash-2", measuring.delete,
         measuring.has_selected),
    _row("measure.save_report|Save as DICOM SR…|保存为 DICOM SR…||save", measurement_files.save_report,
         measurement_files.has_measured),
    _row("measure.save_state|Save view as presentation state…|将视图保存为显示状态…||save",
         measurement_files.save_state, measurement_files.can_save_state),
    _asked("measure.take_offered|Add measurements of reports|添加报告中的测量", measurement_files.take_offered,
           has_image),
    _asked("measure.begin|Begin to measure|开始测量", measuring.begin, always),
    _asked("measure.add|Keep a measurement|保留测量", measuring.add, has_pixels),
    _asked("measure.move|Move a measurement|移动测量", measuring.move, has_pixels),
    _asked("measure.select|Select a measurement|选择测量", measuring.choose, always),
    _asked("measure.name|Name a measurement|命名测量", measuring.rename, has_image),
    _asked("measure.remove|Delete a measurement|删除测量", measuring.delete, has_image),
    _asked("measure.go_to|Show a measurement|显示测量", measuring.go_to, has_image),
    _row("document.previous_page|Previous page|上一页|Ctrl+PgUp|arrow-up", documents.previous_page,
         documents.has_pages),
    _row("document.next_page|Next page|下一页|Ctrl+PgDown|arrow-down", documents.next_page, documents.has_pages),
    _row("document.save_pdf|Save the PDF…|保存 PDF…||save", documents.save_pdf, documents.is_pdf),
    _row("document.close|Close the document|关闭文档|Ctrl+Shift+W|x", documents.close, documents.is_reading),
    _asked("document.show|Read a document|阅读文档", documents.show, always),
    _asked("document.show_image|Show the image of a reference|显示所引用的图像", documents.show_image,
           documents.is_reading),
    _asked("document.draw|Draw a page|绘制页面", documents.draw, documents.is_pdf),
    _row("model.run|Run model|运行模型|Ctrl+Return|play", findings.run_model, may_run),
    _row("model.manage|Models…|模型…||box", _show("models"), always),
    _row("model.train|Train a model…|训练模型…||chart-line", _show("training"), always),
    _row("model.molecule|Molecule…|分子…||hexagon", _show("molecule"), always),
    _asked("model.select|Choose model|选择模型", findings.select_model, always),
    _asked("model.run_record|Run on the record|对患者记录运行", run_on_record, has_image),
    _asked("model.run_note|Run on a note|对病历文字运行", run_on_note, has_image),
    _asked("model.explain_note|Explain by the words of a note|按病历文字的词解释", explain_note, has_image),
    _asked("model.confirm|Confirm|确认", findings.confirm_guard, has_image),
    _row("job.cancel|Cancel|取消|Ctrl+.|circle-x", cancelling.cancel, has_jobs),
    _row("model.ask_all|Ask all models about this image|就此图像询问所有模型||list-tree", model_queue.ask_all_models,
         has_stored_image),
    _row("model.ask_study|Analyse this study|分析此检查||clipboard-list", model_queue.ask_about_study, has_image),
    _row("model.ask_open|Analyse all open studies|分析所有已打开的检查||images", model_queue.ask_about_all,
         has_collection),
    _row("queue.cancel_all|Cancel the queue|取消队列||circle-x", lambda app, _none: model_queue.cancel(app, None),
         model_queue.has_open, menu="model"),
    _row("queue.clear|Clear what has ended|清除已结束的项目||trash-2", model_queue.clear, model_queue.has_ended,
         menu="model"),
    _asked("queue.cancel|Take out of the queue|从队列中移除", model_queue.cancel, always),
    _row("explain.toggle|Hide or show heat map|隐藏或显示热图|X|heat-map", findings.toggle_overlay, has_image),
    _asked("explain.method|Explanation method|解释方法", findings.use_method, always),
    _asked("explain.finding|Finding that is explained|所解释的结果", findings.choose_finding, has_image),
    _asked("explain.compare|Compare with another method|与另一方法比较", comparing.compare, has_image),
    _row("explain.end_comparison|End the comparison of heat maps|结束热图比较||columns-2", _end_comparison,
         comparing.is_comparing),
    _asked("explain.opacity|Heat map opacity|热图不透明度", findings.change_overlay("opacity"), always),
    _asked("explain.threshold|Heat map threshold|热图阈值", findings.change_overlay("threshold"), always),
    _asked("explain.color_map|Heat map colours|热图配色", findings.change_overlay("color_map"), always),
    _row("explain.hottest|Go to where the heat map is strongest|转到热图最强处|Shift+X|crosshair", hottest.show,
         hottest.has_map),
    _row("model.read_first|Read first, AI after: on or off|先阅片后看 AI：开或关||eye-off", impressions.toggle,
         always),
    _row("model.impression|Write impression…|填写阅片印象…||pencil", impressions.write, impressions.can_write),
    _row("finding.accept|Accept finding|接受结果|Ctrl+Shift+A|check", decide("accepted"), may_decide),
    _row("finding.reject|Reject finding…|拒绝结果…|Ctrl+Shift+R|x", decide("rejected"), may_decide),
    _row("finding.change|Change finding…|更改结果…||pencil", decide("changed"), may_decide),
    _row("help.palette|Find a command…|查找命令…|Ctrl+K|text-search", _show("palette"), always),
    _row("help.shortcuts|Keyboard shortcuts|键盘快捷键|F1 ?|keyboard", _show("shortcuts"), always),
    _row("app.preferences|Preferences…|首选项…|Ctrl+,|settings", _show("preferences"), always, menu="edit"),
    _asked("app.prefer|Change a preference|更改首选项", preferences.prefer, always),
    _asked("app.reset_preferences|Reset the preferences|恢复默认首选项", preferences.reset, always),
    _asked("app.shortcuts|Change shortcuts|更改快捷键", _use_shortcuts, always),
    _row("app.language|Language|语言||languages", _use_language, always, choices=_LANGUAGES),
    _row("help.diagnostics|Copy diagnostics|复制诊断信息||clipboard-list", diagnostics.copy, always),
    _row("help.about|About MedViewer|关于 MedViewer||info", _show("about"), always),
)  # fmt: skip

# What acts on images waits while the 3D view hides them: nothing is changed, measured,
# deleted or answered unseen.
_OF_IMAGES = frozenset({"edit", "view", "image", "layout", "layer", "tool", "measure", "explain", "finding"})
_OF_VIEWPORTS = frozenset({"file.export_film", "file.print", "model.run"})
_ALSO_IN_3D = frozenset({
    "edit.undo", "edit.redo", "view.corner_text", "view.hide_identity", "view.panels", "image.select", "image.tags",
    "layout.second_window", "layout.next_screen",
})  # fmt: skip


def _where_seen(row: Command) -> Command:
    is_of_images = row.id.partition(".")[0] in _OF_IMAGES or row.id in _OF_VIEWPORTS
    if not is_of_images or row.id in _ALSO_IN_3D:
        return row
    return replace(row, enabled=lambda state: state.scene is None and row.enabled(state))


COMMANDS: Mapping[str, Command] = MappingProxyType({row.id: _where_seen(row) for row in _ROWS})
"""Every command by its id, in the order of the menus."""
