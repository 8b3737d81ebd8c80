"""The network: NeMo's multitask encoder-decoder in Canary's shape, its tokenizer and its prompts.

Everything NeMo is imported inside functions: the import takes five to twenty seconds, and most of the recipe works
without.
"""

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .config import ModelSettings
from .sentences import LANGUAGES, Sentence

# Order and ids as in canary-1b-v2, so that code written for the big model finds its special tokens where it expects
# them.
_SPECIAL_TOKENS = (
    *("<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>", "<|startofcontext|>"),
    *("<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>", "<|nodiarize|>", "<|spkchange|>"),
    *("<|audioseparator|>", "<|emo:undefined|>", "<|emo:neutral|>", "<|emo:happy|>", "<|emo:sad|>", "<|emo:angry|>"),
    *("<|unklang|>", "<|en|>", "<|ru|>"),
)
_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяabcdefghijklmnopqrstuvwxyz"
PROMPT_LANGUAGE_POSITION = 4
"""Place of the source-language token in the canary2 prompt: blank, context, transcript, emotion, **source**, target,
..."""


def quiet_nemo() -> None:
    """Stops NeMo from logging below errors."""
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(nemo_logging.ERROR)


def train_tokenizer(folder: Path, sentences: tuple[Sentence, ...], settings: ModelSettings) -> Path:
    """Trains the SentencePiece tokenizer on the training sentences.

    Args:
        folder: Where to write ``tokenizer.model`` and ``vocab.txt``, the two files NeMo wants.
        sentences: Training sentences, never the held-out ones.
        settings: Vocabulary size.

    Returns:
        ``folder``.
    """
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for sentence in sentences for text in (sentence.en, sentence.ru)),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=settings.vocabulary,
        model_type="bpe",
        character_coverage=1.0,
        user_defined_symbols=list(_SPECIAL_TOKENS),
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        required_chars=_LETTERS + _LETTERS.upper() + ".,?!'-—0123456789",
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    rows = (pieces.id_to_piece(i) for i in range(pieces.get_piece_size()))
    (folder / "vocab.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def tokenizer_folder(source: Path, work: Path) -> Path:
    """Finds the tokenizer in a folder, or takes it out of a ``.nemo`` archive into ``work/tokenizer``.

    Raises:
        FileNotFoundError: There is none.
    """
    if source.is_dir():
        if not (source / "tokenizer.model").exists():
            message = f"no tokenizer.model in {source}"
            raise FileNotFoundError(message)
        return source
    folder = work / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source) as archive:
        config = archive.extractfile(_member(archive, "model_config.yaml"))
        assert config is not None  # noqa: S101 - a regular file by construction
        names = YAML(typ="safe").load(config.read())["tokenizer"]
        # An embedded aligner brings a second tokenizer: the config says which one is the model's.
        for name, key in (("tokenizer.model", "model_path"), ("vocab.txt", "vocab_path")):
            member = archive.extractfile(_member(archive, names[key].removeprefix("nemo:")))
            assert member is not None  # noqa: S101
            (folder / name).write_bytes(member.read())
    return folder


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    for member in archive.getmembers():
        if member.isfile() and Path(member.name).name == name:
            return member
    message = f"no {name} in {archive.name!r}"
    raise FileNotFoundError(message)


def model_config(tokenizer: Path, settings: ModelSettings) -> Any:
    """Builds the NeMo configuration, without dropout (4.5 million parameters under-fit with it) and without dither."""
    from nemo.collections.asr.parts.submodules.multitask_decoding import MultiTaskDecodingConfig
    from omegaconf import OmegaConf

    # A partial decoding section fails later with 'Key "temperature" is not in struct': give the whole of it.
    decoding: Any = OmegaConf.to_container(OmegaConf.structured(MultiTaskDecodingConfig))
    decoding["strategy"] = "greedy"
    decoding["greedy"]["max_generation_delta"] = decoding["beam"]["max_generation_delta"] = 50
    slots = {
        "decodercontext": "",
        "source_lang": "<|en|>",
        "target_lang": "<|en|>",
        "emotion": "<|emo:undefined|>",
        "pnc": "<|pnc|>",
        "itn": "<|noitn|>",
        "timestamp": "<|notimestamp|>",
        "diarize": "<|nodiarize|>",
    }
    width, asr, common = settings.width, "nemo.collections.asr.modules", "nemo.collections.common"
    transformer = {
        "hidden_size": width,
        "inner_size": 4 * width,
        "num_attention_heads": settings.heads,
        "ffn_dropout": 0.0,
        "attn_score_dropout": 0.0,
        "attn_layer_dropout": 0.0,
        "pre_ln": True,
    }
    return OmegaConf.create(
        {
            "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
            "sample_rate": 16000,
            "label_smoothing": 0.0,
            "log_prediction": False,
            "prompt_format": "canary2",
            "context_len_for_AR_decoding": 9,
            # transcribe() of arrays takes from here every slot the caller does not pass.
            "prompt_defaults": [
                {"role": "user", "slots": slots},
                {"role": "user_partial", "slots": {"decodercontext": ""}},
            ],
            "model_defaults": {"asr_enc_hidden": width, "lm_enc_hidden": width, "lm_dec_hidden": width},
            "tokenizer": {
                "dir": str(tokenizer),
                "type": "bpe",
                "custom_tokenizer": {
                    "_target_": f"{common}.tokenizers.canary_tokenizer.CanaryBPETokenizer",
                    "tokenizer": None,
                },
            },
            "preprocessor": {
                "_target_": f"{asr}.AudioToMelSpectrogramPreprocessor",
                "sample_rate": 16000,
                "normalize": "per_feature",
                "window_size": 0.025,
                "window_stride": 0.01,
                "window": "hann",
                "features": settings.mel_bands,
                "n_fft": 512,
                "log": True,
                "frame_splicing": 1,
                "dither": 0.0,
                "pad_to": 0,
                "pad_value": 0.0,
            },
            "spec_augment": None,
            "encoder": {
                "_target_": f"{asr}.ConformerEncoder",
                "feat_in": settings.mel_bands,
                "feat_out": -1,
                "n_layers": settings.encoder_layers,
                "d_model": width,
                "subsampling": "dw_striding",
                "subsampling_factor": 8,
                "subsampling_conv_channels": settings.subsampling_channels,
                "causal_downsampling": False,
                "ff_expansion_factor": 4,
                "self_attention_model": "rel_pos",
                "n_heads": settings.heads,
                "att_context_size": [-1, -1],
                "xscaling": False,
                "untie_biases": True,
                "pos_emb_max_len": 5000,
                "conv_kernel_size": 9,
                "conv_norm_type": "batch_norm",
                "conv_context_size": None,
                "dropout": 0.0,
                "dropout_pre_encoder": 0.0,
                "dropout_emb": 0.0,
                "dropout_att": 0.0,
            },
            "transf_encoder": {
                "_target_": f"{asr}.transformer.transformer_encoders.TransformerEncoder",
                "num_layers": 0,
                "mask_future": False,
                "pre_ln_final_layer_norm": True,
                **transformer,
            },
            "transf_decoder": {
                "_target_": f"{asr}.transformer.get_nemo_transformer",
                "model_name": None,
                "pretrained": False,
                "encoder": None,
                "pre_ln_final_layer_norm": True,
                "config_dict": {
                    "max_sequence_length": 256,
                    "num_token_types": 0,
                    "embedding_dropout": 0.0,
                    "learn_positional_encodings": False,
                    "num_layers": settings.decoder_layers,
                    "hidden_act": "relu",
                    "vocab_size": "None",
                    **transformer,
                },
            },
            "head": {
                "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
                "num_layers": 1,
                "activation": "relu",
                "log_softmax": True,
                "hidden_size": width,
                "num_classes": "None",
                "dropout": 0.0,
                "use_transformer_init": True,
            },
            "decoding": decoding,
            "loss": {
                "_target_": f"{common}.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
                "label_smoothing": 0.0,
                "pad_id": None,
            },
            "optim": {"name": "adamw", "lr": 1e-3},
        }
    )


def build_model(tokenizer: Path, settings: ModelSettings) -> Any:
    """Builds an untrained model on the CPU."""
    from nemo.collections.asr.models import EncDecMultiTaskModel

    quiet_nemo()
    return EncDecMultiTaskModel(model_config(tokenizer, settings))


def restore(path: Path) -> Any:
    """Loads a ``.nemo`` file on the CPU, in evaluation mode."""
    from nemo.collections.asr.models import EncDecMultiTaskModel

    quiet_nemo()
    model = EncDecMultiTaskModel.restore_from(str(path), map_location="cpu")
    return model.float().eval()


def prompts(model: Any) -> Mapping[tuple[str, str], list[int]]:
    """Encodes the prompt of every pair of source and target language as token ids."""
    slots = model.prompt.get_default_dialog_slots()[0]["slots"]

    def encode(source: str, target: str) -> list[int]:
        turn = {"role": "user", "slots": {**slots, "source_lang": source, "target_lang": target}}
        ids: list[int] = model.prompt.encode_dialog([turn])["context_ids"].tolist()
        return ids

    return {(source, target): encode(source, target) for source in LANGUAGES for target in LANGUAGES}
