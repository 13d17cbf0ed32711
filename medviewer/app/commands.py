"""Everything that can be done, in one table: menus, toolbar, palette, shortcuts and help are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app import findings, opening, viewing
from medviewer.app.session import State, current_answer
from medviewer.domain.errors import UsageError

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
        "tool": {"en": "Tools", "zh": "工具"},
        "model": {"en": "Model", "zh": "模型"},
        "help": {"en": "Help", "zh": "帮助"},
    }
)
"""The menus in their order."""


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


def _always(_state: State) -> bool:
    return True


def _has_image(state: State) -> bool:
    return state.selection is not None


def _has_pixels(state: State) -> bool:
    return state.frame is not None


def _has_stack(state: State) -> bool:
    return state.selection is not None and len(state.selection.stack.images) > 1


def _has_answer(state: State) -> bool:
    return current_answer(state) is not None


def _may_run(state: State) -> bool:
    return state.selection is not None and bool(state.model_id) and not state.record_mismatch


def _has_jobs(state: State) -> bool:
    return bool(state.jobs)


def _show(what: Any) -> Callable[[Application, Any], None]:
    return lambda app, _argument: app.front.show(what)


def _use_language(app: Application, language: str) -> None:
    """Speak another language from now on."""
    chosen = "zh" if str(language).lower().startswith("zh") else "en"
    app.session.update(language=chosen)
    app.remember(language=chosen)


def _t(en: str, zh: str) -> Title:
    return MappingProxyType({"en": en, "zh": zh})


_PRESETS = (
    Choice(0, _t("Automatic", "自动"), "0"),
    *(Choice(n, _t(f"Preset {n}", f"预设 {n}"), str(n)) for n in range(1, 10)),
)
_LANGUAGES = (Choice("en", _t("English", "English")), Choice("zh", _t("Chinese", "简体中文")))

_ROWS = (
    # file
    Command("file.open_folder", _t("Open folder…", "打开文件夹…"), opening.open_folder, _always, "file", "Ctrl+O", "folder-open"),
    Command("file.open_files", _t("Open files…", "打开文件…"), opening.open_files, _always, "file", "Ctrl+Shift+O", "file-up"),
    Command("file.open_recent", _t("Open recent", "打开最近的"), opening.open_recent, _always, "", "", "history", needs_argument=True),
    Command("file.open_sample", _t("Open sample study", "打开示例检查"), opening.open_sample, _always, "file", "", "chest"),
    Command("file.save_results", _t("Save results…", "保存结果…"), findings.save, _has_answer, "file", "Ctrl+S", "save"),
    Command("file.close", _t("Close studies", "关闭检查"), opening.close_all, _has_image, "file", "Ctrl+W", "x"),
    Command("app.quit", _t("Quit", "退出"), lambda app, _argument: app.front.close(), _always, "file", "Ctrl+Q", "log-out"),
    # edit
    Command("edit.undo", _t("Undo", "撤销"), viewing.undo, _has_image, "edit", "Ctrl+Z", "undo-2"),
    Command("edit.redo", _t("Redo", "重做"), viewing.redo, _has_image, "edit", "Ctrl+Y", "redo-2", ("Ctrl+Shift+Z",)),
    # view
    Command("view.fit", _t("Fit to window", "适合窗口"), viewing.fit, _has_image, "view", "F", "maximize"),
    Command("view.actual_size", _t("Actual pixels (1:1)", "实际像素 (1:1)"), viewing.actual_size, _has_image, "view", "Shift+1", "scan", ("!",)),
    Command("view.zoom_in", _t("Zoom in", "放大"), viewing.zoom_by(viewing.ZOOM_STEP), _has_image, "view", "Ctrl++", "zoom-in", ("+", "=", "Ctrl+=")),
    Command("view.zoom_out", _t("Zoom out", "缩小"), viewing.zoom_by(1 / viewing.ZOOM_STEP), _has_image, "view", "Ctrl+-", "zoom-out", ("-",)),
    Command("view.preset", _t("Window preset", "窗宽窗位预设"), viewing.use_preset, _has_pixels, "view", "", "contrast", choices=_PRESETS, needs_argument=True),
    Command("view.invert", _t("Invert", "反相"), viewing.invert, _has_image, "view", "Shift+I", "contrast"),
    Command("view.rotate_left", _t("Rotate left", "向左旋转"), viewing.rotate(1), _has_image, "view", "Ctrl+L", "rotate-ccw-square"),
    Command("view.rotate_right", _t("Rotate right", "向右旋转"), viewing.rotate(-1), _has_image, "view", "Ctrl+R", "rotate-cw-square"),
    Command("view.flip_horizontal", _t("Flip left-right", "左右翻转"), viewing.flip(horizontal=True), _has_image, "view", "H", "flip-horizontal-2"),
    Command("view.flip_vertical", _t("Flip top-bottom", "上下翻转"), viewing.flip(horizontal=False), _has_image, "view", "V", "flip-vertical-2"),
    Command("view.reset", _t("Reset view", "重置视图"), viewing.reset, _has_image, "view", "Esc", "refresh-ccw"),
    Command("view.smooth", _t("Smooth or pixels", "平滑或像素"), viewing.toggle_smooth, _has_image, "view", "Shift+S", "image"),
    Command("view.corner_text", _t("Annotations: all, few, none", "注释:全部、少量、无"), viewing.next_corner_text, _has_image, "view", "I", "captions"),
    Command("view.hide_identity", _t("Hide or show identity", "隐藏或显示身份"), viewing.toggle_identity, _always, "view", "Ctrl+H", "eye-off"),
    Command("view.panels", _t("Hide or show panels", "隐藏或显示面板"), viewing.toggle_panels, _always, "view", "Tab", "panel-left"),
    Command("view.window", _t("Window", "窗"), viewing.set_window, _has_pixels, needs_argument=True),
    Command("view.place", _t("Zoom and centre", "缩放与中心"), viewing.set_place, _has_image, needs_argument=True),
    Command("view.settle", _t("End of a drag", "拖动结束"), viewing.settle, _always, needs_argument=True),
    # image
    Command("image.previous", _t("Previous image", "上一幅"), opening.step_image(-1), _has_stack, "image", "Up", "arrow-up", ("PgUp",)),
    Command("image.next", _t("Next image", "下一幅"), opening.step_image(1), _has_stack, "image", "Down", "arrow-down", ("PgDown",)),
    Command("image.first", _t("First image", "第一幅"), lambda app, _argument: opening.show_index(app, 0), _has_stack, "image", "Home", "skip-back"),
    Command("image.last", _t("Last image", "最后一幅"), opening.last_image, _has_stack, "image", "End", "skip-forward"),
    Command("image.show", _t("Show image", "显示图像"), opening.show_index, _has_stack, needs_argument=True),
    Command("image.select", _t("Select image", "选择图像"), opening.select, _always, needs_argument=True),
    Command("series.previous", _t("Previous series", "上一序列"), opening.step_series(-1), _has_image, "image", "Left", "arrow-left"),
    Command("series.next", _t("Next series", "下一序列"), opening.step_series(1), _has_image, "image", "Right", "arrow-right"),
    # tools of the left button
    Command("tool.window", _t("Window/level", "窗宽窗位"), viewing.use_tool("window"), _always, "tool", "W", "contrast"),
    Command("tool.pan", _t("Pan", "平移"), viewing.use_tool("pan"), _always, "tool", "T", "move"),
    Command("tool.zoom", _t("Zoom", "缩放"), viewing.use_tool("zoom"), _always, "tool", "Z", "zoom-in"),
    Command("tool.scroll", _t("Scroll", "翻页"), viewing.use_tool("scroll"), _always, "tool", "S", "layers"),
    # model
    Command("model.run", _t("Run model", "运行模型"), findings.run_model, _may_run, "model", "Ctrl+Return", "play"),
    Command("model.select", _t("Choose model", "选择模型"), findings.select_model, _always, needs_argument=True),
    Command("model.confirm", _t("Confirm", "确认"), findings.confirm_guard, _has_image, needs_argument=True),
    Command("job.cancel", _t("Cancel", "取消"), findings.cancel, _has_jobs, "model", "Ctrl+.", "circle-x"),
    Command("explain.toggle", _t("Hide or show heat map", "隐藏或显示热图"), findings.toggle_overlay, _has_image, "model", "X", "heat-map"),
    Command("explain.method", _t("Explanation method", "解释方法"), findings.use_method, _always, needs_argument=True),
    Command("explain.opacity", _t("Heat map opacity", "热图不透明度"), findings.change_overlay("opacity"), _always, needs_argument=True),
    Command("explain.threshold", _t("Heat map threshold", "热图阈值"), findings.change_overlay("threshold"), _always, needs_argument=True),
    Command("explain.color_map", _t("Heat map colours", "热图配色"), findings.change_overlay("color_map"), _always, needs_argument=True),
    Command("finding.accept", _t("Accept finding", "接受结果"), findings.decide("accepted"), _has_answer, "model", "Ctrl+Shift+A", "check"),
    Command("finding.reject", _t("Reject finding…", "拒绝结果…"), findings.decide("rejected"), _has_answer, "model", "Ctrl+Shift+R", "x"),
    Command("finding.change", _t("Change finding…", "更改结果…"), findings.decide("changed"), _has_answer, "model", "", "pencil"),
    # help
    Command("help.palette", _t("Find a command…", "查找命令…"), _show("palette"), _always, "help", "Ctrl+K", "command"),
    Command("help.shortcuts", _t("Keyboard shortcuts", "键盘快捷键"), _show("shortcuts"), _always, "help", "F1", "keyboard", ("?",)),
    Command("app.language", _t("Language", "语言"), _use_language, _always, "help", "", "languages", choices=_LANGUAGES, needs_argument=True),
    Command("help.about", _t("About MedViewer", "关于 MedViewer"), _show("about"), _always, "help", "", "info"),
)  # fmt: skip

COMMANDS: Mapping[str, Command] = MappingProxyType({row.id: row for row in _ROWS})
"""Every command by its id, in the order of the menus."""
