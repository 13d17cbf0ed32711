"""The sentences of the guards, in English and Chinese: one table, so that both can be read side by side."""

from __future__ import annotations

from collections.abc import Mapping

from medviewer.inference.card import Text
from medviewer.inference.data_guard_texts import DATA_TEXTS

TEXTS: Mapping[str, Text] = {
    "no_image": Text("There is no image to analyse.", "没有可供分析的图像。"),
    "modality.ok": Text("Modality {found}, as the model expects.", "检查类型 {found}，符合模型要求。"),
    "modality.abstain": Text(
        "The image is {found}; the model is only for {expected}.",
        "图像的检查类型为 {found}；该模型仅适用于 {expected}。",
    ),
    "modality.unknown": Text(
        "The file does not say how the image was made; the model is only for {expected}.",
        "文件未注明检查类型；该模型仅适用于 {expected}。",
    ),
    "modality.unknown.confirmed": Text(
        "The file does not say how the image was made; the reader confirmed {expected}.",
        "文件未注明检查类型；阅片者已确认为 {expected}。",
    ),
    "body_part.ok": Text("Body part {found}, as the model expects.", "检查部位 {found}，符合模型要求。"),
    "body_part.abstain": Text(
        "The image shows {found}; the model is only for {expected}.",
        "图像的检查部位为 {found}；该模型仅适用于 {expected}。",
    ),
    "body_part.unknown": Text(
        "The file does not say which body part this is; the model is only for {expected}.",
        "文件未注明检查部位；该模型仅适用于 {expected}。",
    ),
    "body_part.unknown.confirmed": Text(
        "The file does not say which body part this is; the reader confirmed {expected}.",
        "文件未注明检查部位；阅片者已确认为 {expected}。",
    ),
    "view.ok": Text("View {found}, as the model expects.", "投照体位 {found}，符合模型要求。"),
    "view.abstain": Text(
        "The view is {found}; the model is only for {expected}.",
        "投照体位为 {found}；该模型仅适用于 {expected}。",
    ),
    "view.unknown": Text(
        "The file does not state the view; the model is only for {expected}.",
        "文件未注明投照体位；该模型仅适用于 {expected}。",
    ),
    "view.unknown.confirmed": Text(
        "The file does not state the view; the reader confirmed that it is {expected}.",
        "文件未注明投照体位；阅片者已确认为 {expected}。",
    ),
    # ".frontal": of cards that name no other view than AP and PA.
    "view.abstain.frontal": Text(
        "The view is {found}; the model is only for frontal views ({expected}).",
        "投照体位为 {found}；该模型仅适用于正位（{expected}）。",
    ),
    "view.lateral": Text(
        "By its patient orientation the view is lateral; the model is only for frontal views ({expected}).",
        "根据患者方位，该投照体位为侧位；该模型仅适用于正位（{expected}）。",
    ),
    "view.contradiction": Text(
        "The file calls the view {found}, but its patient orientation is that of a lateral view; "
        "the model is only for frontal views ({expected}).",
        "文件标注体位为 {found}，但其患者方位属于侧位；该模型仅适用于正位（{expected}）。",
    ),
    "view.unknown.frontal": Text(
        "The file does not say whether the view is frontal; the model is only for {expected}.",
        "文件未注明投照体位；该模型仅适用于 {expected}。",
    ),
    "view.unknown.frontal.confirmed": Text(
        "The file does not state the view; the reader confirmed that it is frontal ({expected}).",
        "文件未注明投照体位；阅片者已确认为正位（{expected}）。",
    ),
    "color": Text(
        "The image is in colour; the model is only for greyscale images ({expected}).",
        "图像为彩色；该模型仅适用于灰度图像（{expected}）。",
    ),
    "color.any": Text(
        "The image is in colour; the model is only for greyscale images.", "图像为彩色；该模型仅适用于灰度图像。"
    ),
    "photometric_interpretation.ok": Text(
        "Greyscale ({found}), as the model expects.", "灰度图像（{found}），符合模型要求。"
    ),
    "photometric_interpretation.abstain": Text(
        "The pixels are stored as {found}, which the model does not take.", "像素存储方式为 {found}，该模型不支持。"
    ),
    "sop_class": Text(
        "This kind of DICOM object is not one that the model was made for.", "该模型不适用于此类 DICOM 对象。"
    ),
    "secondary_capture": Text(
        "This is a secondary capture: a picture of an image, perhaps cropped or annotated; the answer may be wrong.",
        "这是二次采集图像，可能经过裁剪或标注；结果可能有误。",
    ),
    "secondary_capture.confirmed": Text(
        "This is a secondary capture; the reader confirmed that it shows the whole, unmarked image.",
        "这是二次采集图像；阅片者已确认其为完整、无标注的图像。",
    ),
    "burnt_in_annotation": Text(
        "The file says that text is burnt into the image; a model can be misled by it.",
        "文件注明图像中烧录有文字；模型可能受其误导。",
    ),
    "burnt_in_annotation.confirmed": Text(
        "Text is burnt into the image; the reader confirmed that it hides nothing of importance.",
        "图像中烧录有文字；阅片者已确认其未遮挡重要内容。",
    ),
    "age": Text(
        "Validated on ages {low}-{high}; this patient is {age}.",
        "该模型在 {low}-{high} 岁人群中验证；该患者为 {age} 岁。",
    ),
    "age.ok": Text(
        "The patient's age is within the validated ages {low}-{high}.", "患者年龄在验证人群范围（{low}-{high} 岁）内。"
    ),
    "age.unknown": Text(
        "Validated on ages {low}-{high}; this patient's age is unknown.",
        "该模型在 {low}-{high} 岁人群中验证；该患者年龄未知。",
    ),
    "age.unknown.confirmed": Text(
        "The file does not say how old the patient is; the reader confirmed an age of {low}-{high}.",
        "文件未注明患者年龄；阅片者已确认为 {low}-{high} 岁。",
    ),
    "age.contradiction": Text(
        "The patient's age is told differently, by birth date or as an age ({found}), so that none is used; "
        "the file or the record may be another patient's.",
        "患者年龄（按出生日期或所注年龄）记载不一致（{found}），因此均不采用；文件或病历可能属于其他患者。",
    ),
    "age.contradiction.confirmed": Text(
        "The patient's age is told differently ({found}); the reader confirmed that the patient is of an age that the "
        "model is for.",
        "患者年龄记载不一致（{found}）；阅片者已确认患者年龄符合该模型适用范围。",
    ),
    "sex": Text(
        "Validated on patients of sex {expected}; this patient's is {found}.",
        "该模型在性别为 {expected} 的患者中验证；该患者性别为 {found}。",
    ),
    "sex.unknown": Text(
        "Validated on patients of sex {expected}; this patient's sex is not recorded.",
        "该模型在性别为 {expected} 的患者中验证；该患者性别未记录。",
    ),
    "sex.unknown.confirmed": Text(
        "The patient's sex is not recorded; the reader confirmed that it is one of {expected}.",
        "患者性别未记录；阅片者已确认属于 {expected}。",
    ),
    "spacing.ok": Text(
        "A pixel is {found} mm; the model is for {low} to {high} mm.",
        "像素大小为 {found} mm；该模型适用于 {low} 至 {high} mm。",
    ),
    "spacing": Text(
        "A pixel is {found} mm, and the model is only for {low} to {high} mm; there is no result.",
        "像素大小为 {found} mm，而该模型仅适用于 {low} 至 {high} mm；没有结果。",
    ),
    "spacing.unknown": Text(
        "The file does not say how large a pixel is; the model is only for {low} to {high} mm.",
        "文件未注明像素大小；该模型仅适用于 {low} 至 {high} mm。",
    ),
    "spacing.unknown.confirmed": Text(
        "The file does not say how large a pixel is; the reader confirmed {low} to {high} mm.",
        "文件未注明像素大小；阅片者已确认为 {low} 至 {high} mm。",
    ),
    "image.warn": Text("The file has a peculiarity: {text}", "该文件存在异常：{text}"),
    "image.abstain": Text(
        "The image is not whole or not certain, so it is not analysed: {text}", "图像不完整或不可靠，未进行分析：{text}"
    ),
    "range": Text(
        "After preparation the image holds values that the model never met; it is not analysed.",
        "预处理后的图像含有模型从未遇到过的数值；未进行分析。",
    ),
    "range.ok": Text("The prepared values are in the expected range.", "预处理后的数值在预期范围内。"),
    "flat": Text(
        "As the model sees it, the image is one grey all over: there is nothing in it to judge; no result.",
        "在模型看来，图像各处灰度相同：其中没有可供判断的内容；没有结果。",
    ),
    "no_result": Text("The model's output is not a number; there is no result.", "模型输出不是有效数值；没有结果。"),
    "out_of_distribution.ok": Text(
        "Distance from the training images {distance} (warning above {warn}); "
        "this does not prove that the image is like them.",
        "与训练图像的距离为 {distance}（超过 {warn} 时警告）；这并不能证明该图像与训练图像相似。",
    ),
    "out_of_distribution.warn": Text(
        "The image is unlike those that the model learned from: distance {distance}, usual is below {warn}.",
        "该图像与模型学习过的图像不同：距离为 {distance}，通常低于 {warn}。",
    ),
    "out_of_distribution.abstain": Text(
        "The image is too unlike those that the model learned from (distance {distance}, limit {abstain}); no result.",
        "该图像与模型学习过的图像差异过大（距离 {distance}，上限 {abstain}）；没有结果。",
    ),
    "out_of_distribution.residual.ok": Text(
        "What the training images do not explain of this image: {distance} (warning above {warn}); "
        "this does not prove that the image is like them.",
        "该图像中训练图像无法解释的部分为 {distance}（超过 {warn} 时警告）；这并不能证明该图像与训练图像相似。",
    ),
    "out_of_distribution.residual.warn": Text(
        "Part of the image is nothing that the model learned from: {distance}, usual is below {warn}.",
        "该图像有一部分是模型从未学习过的：该部分为 {distance}，通常低于 {warn}。",
    ),
    "out_of_distribution.residual.abstain": Text(
        "Too much of the image is nothing that the model learned from ({distance}, limit {abstain}); no result.",
        "该图像有过多部分是模型从未学习过的（该部分为 {distance}，上限 {abstain}）；没有结果。",
    ),
    "out_of_distribution.texture.ok": Text(
        "Light and grain of the image lie {distance} from those of the training images (warning above {warn}); "
        "this does not prove that the image is like them.",
        "该图像的明暗与纹理与训练图像的距离为 {distance}（超过 {warn} 时警告）；这并不能证明该图像与训练图像相似。",
    ),
    "out_of_distribution.texture.warn": Text(
        "Light and grain of the image are unlike those of the images that the model learned from: distance {distance}, "
        "usual is below {warn}.",
        "该图像的明暗与纹理与模型学习过的图像不同：距离为 {distance}，通常低于 {warn}。",
    ),
    "out_of_distribution.texture.abstain": Text(
        "Light and grain of the image are too unlike those of the images that the model learned from "
        "(distance {distance}, limit {abstain}); no result.",
        "该图像的明暗与纹理与模型学习过的图像差异过大（距离 {distance}，上限 {abstain}）；没有结果。",
    ),
    "learned_from": Text(
        "The model learned from this very image: its answer here does not show how good it is.",
        "该模型曾用这幅图像进行训练：此处的回答不能说明其准确程度。",
    ),
    "uncalibrated": Text(
        "The numbers are the network's own output, never compared with what was true: they are no probabilities.",
        "这些数值是网络的原始输出，从未与真实情况比较：它们不是概率。",
    ),
    "unmeasured": Text(
        "Nobody has measured how often this model is right; what its threshold means is not known.",
        "没有人测量过该模型的正确率；其阈值的含义未知。",
    ),
    "unmeasured.some": Text(
        "Too few cases were known to measure how often the model is right about: {names}.",
        "已知病例过少，未能测量模型对以下类别的正确率：{names}。",
    ),
    "stability.ok": Text(
        "{label}: small shifts, turns and contrast changes leave the answer as it is ({low} to {high}).",
        "{label}：轻微平移、旋转和对比度变化不改变结论（{low} 至 {high}）。",
    ),
    "stability.warn": Text(
        "{label}: small shifts, turns or contrast changes change the answer ({low} to {high}); do not rely on it.",
        "{label}：轻微平移、旋转或对比度变化会改变结论（{low} 至 {high}）；请勿依赖该结果。",
    ),
    "outline.ok": Text(
        "{label}: under small shifts, turns and contrast changes the outline takes {low}% to {high}% of the image.",
        "{label}：在轻微平移、旋转和对比度变化下，轮廓占图像的 {low}% 至 {high}%。",
    ),
    "outline.none": Text(
        "{label}: small shifts, turns and contrast changes do not bring an outline either.",
        "{label}：轻微平移、旋转和对比度变化后仍未勾画出轮廓。",
    ),
    "outline.warn": Text(
        "{label}: small shifts, turns or contrast changes make the outline come or go (up to {high}% of the image); "
        "do not rely on it.",
        "{label}：轻微平移、旋转或对比度变化会使轮廓出现或消失（最多占图像的 {high}%）；请勿依赖该结果。",
    ),
    "outline.grows": Text(
        "{label}: under small shifts, turns or contrast changes the outline takes from {low}% to {high}% of the image, "
        "more than twice as much; do not rely on its size.",
        "{label}：在轻微平移、旋转或对比度变化下，轮廓占图像的 {low}% 至 {high}%，相差超过一倍；请勿依赖其大小。",
    ),
    **DATA_TEXTS,
}
