"""The sentences of the guards of everything that is no image, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from medviewer.inference.card import Text

DATA_TEXTS: Mapping[str, Text] = {
    "missing": Text("{name} is not recorded; the model needs it.", "未记录{name}；该模型需要此项。"),
    "stale": Text(
        "{name} was not recorded together with the newest values; the model needs it from the same time.",
        "{name}与最新数值并非同一时间记录；该模型需要同一时间的数值。",
    ),
    "unit": Text(
        "{name} is recorded in “{found}”, which cannot be converted to {expected} with certainty; it is not used.",
        "{name}的记录单位为“{found}”，无法可靠地换算为 {expected}；未使用。",
    ),
    "not_understood": Text(
        "What is recorded for {name} is none of: {expected}; it is not used.",
        "{name}的记录内容不属于：{expected}；未使用。",
    ),
    "no_number": Text(
        "What is recorded for {name} is a bound or words, not a number; it is not used.",
        "{name}的记录为上下限或文字，而非数值；未使用。",
    ),
    "implausible": Text(
        "{name} is {found} {unit}; plausible is {low} to {high}. Check the value: there is no result with it.",
        "{name}为 {found} {unit}；合理范围为 {low} 至 {high}。请核对该数值：无法据此给出结果。",
    ),
    "constant": Text(
        "{name} is {found}, but it never varied in the data that the model learned from; there is no result.",
        "{name}为 {found}，但该项在模型的训练数据中从未变化过；没有结果。",
    ),
    "assumed": Text(
        "{name} is not recorded; the model takes “{found}”. Check that this is right for the patient.",
        "未记录{name}；模型按“{found}”处理。请核对是否符合该患者情况。",
    ),
    "stands": Text(
        "{name} was recorded {age} before the other values, and “{found}” is taken to hold still. Check that it does.",
        "{name}的记录比其他数值早 {age}，此处按“{found}”仍然有效处理。请核对是否依然如此。",
    ),
    "undated": Text(
        "{name} is recorded, but not at what time, so that nobody can tell what held at the moment that is asked "
        "about; there is no result. Record it with its time.",
        "{name}有记录，但未注明时间，无法判断所询问的时刻以哪一项为准；没有结果。请连同时间一起记录。",
    ),
    "contradiction": Text(
        "{name} is recorded more than once for one moment, and not alike ({found}): nobody can tell which holds; there "
        "is no result.",
        "{name}在同一时刻有多条互相矛盾的记录（{found}），无法判断以哪一条为准；没有结果。",
    ),
    "old": Text(
        "The newest value is {age} old (usual is up to {limit} h); the patient may have changed since.",
        "最新数值已有 {age}（通常不超过 {limit} 小时）；患者情况可能已变化。",
    ),
    "too_old": Text(
        "The newest value is {age} old, and the model is only for values of the last {limit} h; there is no result.",
        "最新数值已有 {age}，而该模型仅适用于最近 {limit} 小时内的数值；没有结果。",
    ),
    "grid_ends_later": Text(
        "The newest value is {age} before the moment that is asked about. Hours ahead are counted from that moment, "
        "but the model was measured only from the newest value on: its bands may not hold.",
        "最新数值比所询问的时刻早 {age}。预测小时从该时刻算起，但模型仅从最新数值起算进行过验证：其区间可能不成立。",
    ),
    "stay_is_over": Text(
        "The newest value is {age} before the moment that is asked about, and the model looks at the stay of that "
        "moment; no result.",
        "最新数值比所询问的时刻早 {age}，而该模型针对该时刻所处的住院过程；没有结果。",
    ),
    "stay_goes_on": Text(
        "The stay has lasted only {found} of the {hours} h that the model looks at, counted from the first value: the "
        "others would count as not measured; no result. It can be asked when they have passed.",
        "从首个数值算起，此次住院仅过去 {found} 小时，而该模型所看的是 {hours} 小时：其余时间会被当作未测量；没有结果。"
        "待时间满后可再次询问。",
    ),
    "grid_is_over": Text(
        "The model looks at the first {hours} h of the stay, which ended {age} before the moment that is asked about; "
        "nothing later is in its answer.",
        "该模型只看住院的前 {hours} 小时，这段时间在所询问的时刻之前 {age}已结束；其回答不含此后的任何数据。",
    ),
    "no_time_of_day": Text(
        "{name}: values of which only the day is recorded were left out ({n}); the model looks at the hour.",
        "{name}：仅记录到日期的数值已排除（{n} 个）；该模型按小时取值。",
    ),
    "no_numbers": Text(
        "{name}: what is recorded as a bound or in words was left out ({n}); the model takes numbers.",
        "{name}：以上下限或文字记录的结果已排除（{n} 个）；该模型只取数值。",
    ),
    "left_out": Text(
        "{name}: values outside of {low} to {high} {unit} were left out ({n}).",
        "{name}：超出 {low} 至 {high} {unit} 的数值已排除（{n} 个）。",
    ),
    "not_recent": Text(
        "{name}: not measured in the last {hours} h, so that nothing is forecast of it.",
        "{name}：最近 {hours} 小时内未测量，因此不作预测。",
    ),
    "too_few": Text(
        "Only {found} values are recorded in the {hours} h that the model looks at; it needs {least}.",
        "模型所看的 {hours} 小时内仅记录了 {found} 个数值；至少需要 {least} 个。",
    ),
    "age.abstain": Text(
        "The model is only for ages {low}-{high}; this patient is {age}, so that there is no result.",
        "该模型仅适用于 {low}-{high} 岁；该患者为 {age} 岁，因此没有结果。",
    ),
    "no_note": Text("There is no note to read.", "没有可供分析的文字记录。"),
    "long_note": Text(
        "The note is longer than {most} characters; give the part that is meant.",
        "文字记录超过 {most} 个字符；请仅提供相关部分。",
    ),
    "cut_note": Text(
        "The note is longer than the model can read: only its first {most} word parts were used.",
        "文字记录超出模型可读长度：仅使用了前 {most} 个词元。",
    ),
    "no_known_word": Text(
        "The note holds no word that the model knows; there is no result.", "文字记录中没有模型认识的词；没有结果。"
    ),
    "language": Text(
        "The note seems to be in another language ({found}) than the model learned ({expected}); there is no result.",
        "文字记录的语言（{found}）似乎与模型所学语言（{expected}）不同；没有结果。",
    ),
    "language.unknown": Text(
        "Which language the note is in cannot be told; the model is only for {expected}.",
        "无法判断文字记录的语言；该模型仅适用于 {expected}。",
    ),
    "no_molecule": Text(
        "There is no molecule to look at; give one as SMILES.", "没有可供分析的分子；请以 SMILES 提供。"
    ),
    "several_molecules": Text(
        "There are several molecules; the model looks at one at a time.", "有多个分子；该模型每次只分析一个。"
    ),
    "not_a_molecule": Text(
        "What is given is not a molecule in SMILES; check how it is written.",
        "所提供的内容不是有效的 SMILES；请核对写法。",
    ),
    "open_molecule": Text(
        "The SMILES leaves an atom (*) or a bond (~) open, so that many molecules fit; give the one that is meant.",
        "该 SMILES 含有未指明的原子（*）或化学键（~），可能对应多个分子；请提供所要分析的那一个。",
    ),
    "mixture": Text(
        "The SMILES holds {found} molecules (a salt, hydrate or mixture); give the one that is meant.",
        "该 SMILES 含有 {found} 个分子（盐、水合物或混合物）；请仅提供所要分析的一个。",
    ),
    "large_molecule": Text(
        "The molecule has {found} atoms; the model takes up to {most}.",
        "该分子有 {found} 个原子；该模型最多支持 {most} 个。",
    ),
    "no_view": Text(
        "There is no image of the view {expected}; the model needs it.",
        "没有 {expected} 体位的图像；该模型需要此图像。",
    ),
    "several_views": Text(
        "There are several images of the view {expected}; choose one of them.",
        "有多幅 {expected} 体位的图像；请选择其中一幅。",
    ),
    "sides_differ": Text(
        "The views are of different sides of the body ({found}); give those of one side.",
        "这些体位来自身体的不同侧（{found}）；请提供同一侧的图像。",
    ),
    "no_volume": Text("There is no stack of slices to look at; open one.", "没有可供分析的断层序列；请打开一个。"),
    "several_volumes": Text("There are several stacks of slices; choose one.", "有多个断层序列；请选择一个。"),
    "uneven_volume": Text(
        "Slices are missing, or they lean (gantry tilt): the model would see another anatomy; there is no result.",
        "断层缺失或倾斜（机架倾角）：模型所见将与实际解剖不符；没有结果。",
    ),
    "oblique_volume": Text(
        "The slices lie obliquely in the patient: the model knows stacks along the body's axes; there is no result.",
        "断层相对于人体为斜位：该模型仅适用于沿人体轴向的断层序列；没有结果。",
    ),
    "unturned_volume": Text(
        "The slices do not lie as axial ones do, and the model's card does not say which way it needs them: "
        "sides may be taken for each other.",
        "这些断层不是常规轴位排列，而模型卡未说明其所需方向：左右、前后或头足方向可能被混淆。",
    ),
    "slice_count": Text(
        "The stack has {found} slices; the model is for {low} to {high}.",
        "该断层序列有 {found} 层；该模型适用于 {low} 至 {high} 层。",
    ),
    "few_slices": Text(
        "The stack has {found} slices where the network looks at {wanted}: most of what it sees between them is "
        "interpolated.",
        "该断层序列有 {found} 层，而网络按 {wanted} 层观察：层与层之间的大部分内容为插值所得。",
    ),
    "slice_spacing": Text(
        "The slices are {found} mm apart; the model is for {low} to {high} mm.",
        "层间距为 {found} mm；该模型适用于 {low} 至 {high} mm。",
    ),
    "range.data": Text(
        "After preparation the data hold values that the model never met; there is no result.",
        "预处理后的数据含有模型从未遇到过的数值；没有结果。",
    ),
    "learned_from.data": Text(
        "The model learned from this very case: its answer here does not show how good it is.",
        "该模型曾用此病例进行训练：此处的回答不能说明其准确程度。",
    ),
    "out_of_distribution.ok.data": Text(
        "Distance from the training data {distance} (warning above {warn}); "
        "this does not prove that the case is like them.",
        "与训练数据的距离为 {distance}（超过 {warn} 时警告）；这并不能证明该病例与其相似。",
    ),
    "out_of_distribution.warn.data": Text(
        "The data are unlike those that the model learned from: distance {distance}, usual is below {warn}.",
        "该数据与模型学习过的数据不同：距离为 {distance}，通常低于 {warn}。",
    ),
    "out_of_distribution.abstain.data": Text(
        "The data are too unlike those that the model learned from (distance {distance}, limit {abstain}); no result.",
        "该数据与模型学习过的数据差异过大（距离 {distance}，上限 {abstain}）；没有结果。",
    ),
    "out_of_distribution.residual.ok.data": Text(
        "What the training data do not explain of these: {distance} (warning above {warn}); "
        "this does not prove that the case is like them.",
        "训练数据无法解释的部分为 {distance}（超过 {warn} 时警告）；这并不能证明该病例与其相似。",
    ),
    "out_of_distribution.residual.warn.data": Text(
        "Part of the data is nothing that the model learned from: {distance}, usual is below {warn}.",
        "该数据有一部分是模型从未学习过的：该部分为 {distance}，通常低于 {warn}。",
    ),
    "out_of_distribution.residual.abstain.data": Text(
        "Too much of the data is nothing that the model learned from ({distance}, limit {abstain}); no result.",
        "该数据有过多部分是模型从未学习过的（该部分为 {distance}，上限 {abstain}）；没有结果。",
    ),
}

_SPANS = ((24 * 730.0, 24 * 365.25, "years", "年"), (48.0, 24.0, "days", "天"), (0.0, 1.0, "h", "小时"))
"""From how many hours on a span is told in a unit, the unit in hours, and its name; two of each at least, so plural."""


def span(hours: float) -> Text:
    """A time in the unit that people would use: hours up to two days, days up to two years, then years.

    >>> span(30).en, span(195105).en, span(195105).say("zh")
    ('30 h', '22 years', '22 年')
    """
    _, unit, en, zh = next(row for row in _SPANS if hours >= row[0])
    return Text(f"{hours / unit:.0f} {en}", f"{hours / unit:.0f} {zh}")
