"""Builds a tiny Canary-architecture model with random weights: real NeMo, real tokenizer, a second to make.

The layout is that of canary-1b-v2 (one SentencePiece tokenizer with the special tokens as user-defined symbols, the
``canary2`` prompt, FastConformer encoder, Transformer decoder); only the sizes are not.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SPECIAL = [
    "<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>", "<|startofcontext|>",
    "<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>", "<|nodiarize|>", "<|emo:undefined|>",
    "<|unklang|>", "<|en|>", "<|ru|>",
]  # fmt: skip

SENTENCES = [
    "Where is the station? I would like a cup of coffee and some bread, please.",
    "Где находится вокзал? Я бы хотел чашку кофе и немного хлеба, пожалуйста.",
]

WIDTH = 32
DROPOUT = 0.3  # so that a model left in train() mode betrays itself


FAMILY_DECODING = {
    "strategy": "beam",
    "return_best_hypothesis": True,
    "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50},
}
"""How the published models are configured: a beam of one, and nothing said of greedy."""


def build(
    folder: Path,
    *,
    seed: int = 2,
    beam_size: int | None = None,
    decoding: dict[str, Any] | None = None,
    width: int = WIDTH,
    layers: int = 1,
    bias: Callable[[str], float] | None = None,
    pre_ln: bool = True,
    aligner: bool = False,
    lively: bool = True,
) -> Path:
    """Make ``tiny.nemo`` in ``folder``.

    Args:
        folder: Where.
        seed: Of the weights.
        beam_size: Of the search; greedy unless there is one.
        decoding: Configuration of the search, as it stands in the file.
        width: Of all layers.
        layers: Of the encoder and of the decoder.
        bias: What is added to the logit of a token, by its piece, after :func:`_enliven`.
        pre_ln: Whether the decoder's layers normalise what goes in (as the published ones do) or what comes out.
        aligner: Whether a CTC recogniser lies beside it in the file, named as in that of canary-1b-v2.
        lively: Whether its texts depend on the audio (:func:`_enliven`); else it has NeMo's initial weights.
    """
    import torch
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from omegaconf import OmegaConf, open_dict

    _tokenizer(folder / "tokenizer")
    torch.manual_seed(seed)
    plain = _config(folder / "tokenizer", beam_size, width, layers)
    plain["transf_decoder"]["config_dict"]["pre_ln"] = pre_ln
    config = OmegaConf.create(plain)
    model = EncDecMultiTaskModel(config)
    if lively:
        _enliven(model)
    if bias is not None:
        pieces = model.tokenizer.ids_to_tokens(list(range(model.tokenizer.vocab_size)))
        with torch.no_grad():
            model.log_softmax.mlp.layer0.bias[: len(pieces)] += torch.tensor([bias(piece) for piece in pieces])
    if decoding is not None:
        with open_dict(model.cfg):
            model.cfg.decoding = OmegaConf.create(decoding)
    path = folder / "tiny.nemo"
    with open_dict(model.cfg):
        model.cfg.restore_timestamps_model = aligner  # not before: it would look in whatever was restored last
    model.save_to(str(path))
    if aligner:
        _add_aligner(path, plain)
    return path


def build_classifier(folder: Path, labels: Sequence[str], *, seed: int = 0, rate_hz: int = 16000) -> Path:
    """Make ``classifier.nemo`` in ``folder``: an EncDecSpeakerLabelModel laid out as AmberNet, with random weights.

    Args:
        folder: Where.
        labels: Its classes; without any the file does not name them.
        seed: Of the weights.
        rate_hz: What it says that it hears.
    """
    import torch
    from nemo.collections.asr.models import EncDecSpeakerLabelModel
    from omegaconf import OmegaConf, open_dict

    torch.manual_seed(seed)
    here = "nemo.collections.asr.modules"
    layer = {"filters": 16, "repeat": 1, "kernel": [3], "stride": [1], "dilation": [1], "dropout": DROPOUT}
    config = {
        "sample_rate": rate_hz,
        "preprocessor": {
            "_target_": f"{here}.AudioToMelSpectrogramPreprocessor", "normalize": "per_feature", "sample_rate": rate_hz,
            "window_size": 0.025, "window_stride": 0.01, "window": "hann", "features": 16, "n_fft": 512, "dither": 1e-5,
        },
        "encoder": {
            "_target_": f"{here}.ConvASREncoder", "feat_in": 16, "activation": "relu", "conv_mask": True,
            "jasper": [{**layer, "residual": False, "separable": True}],
        },
        "decoder": {
            "_target_": f"{here}.SpeakerDecoder", "feat_in": 16, "num_classes": max(len(labels), 2),
            "pool_mode": "xvector", "emb_sizes": 8, "angular": False,
        },
    }  # fmt: skip
    path = folder / "classifier.nemo"
    model = EncDecSpeakerLabelModel(OmegaConf.create(config))
    with open_dict(model.cfg):  # not before: it would read the recordings
        model.cfg.train_ds = {"manifest_filepath": None, "sample_rate": rate_hz, "labels": list(labels) or None}
    model.save_to(str(path))
    return path


def _add_aligner(path: Path, config: dict[str, Any]) -> None:
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    ctc = EncDecCTCModelBPE(
        OmegaConf.create(
            {
                "sample_rate": 16000,
                "log_prediction": False,
                "ctc_reduction": "mean_batch",
                "skip_nan_grad": False,
                "target": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE",
                "tokenizer": {"dir": config["tokenizer"]["dir"], "type": "bpe"},
                "preprocessor": config["preprocessor"],
                "encoder": config["encoder"],
                "decoder": {
                    "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
                    "feat_in": None,
                    "num_classes": -1,
                    "vocabulary": [],
                },
                "decoding": {"strategy": "greedy_batch"},
                "optim": {"name": "adamw", "lr": 1e-3},
            }
        )
    )
    _put_aligner(ctc, path)


def _put_aligner(ctc: Any, path: Path) -> None:
    beside = path.with_name("aligner.nemo")
    ctc.save_to(str(beside))
    with tarfile.open(beside) as source, tarfile.open(path, "a") as into:
        there = {Path(member.name).name for member in into.getmembers()}
        for member in source.getmembers():
            name = Path(member.name).name
            if member.isfile() and name not in there - {"model_config.yaml", "model_weights.ckpt"}:
                data = source.extractfile(member)
                member.name = f"./timestamps_asr_{name}" if name.startswith("model_") else f"./{name}"
                into.addfile(member, data)
    beside.unlink()


def _enliven(model: Any) -> None:
    """Make the texts depend on the audio, and differ in length.

    With NeMo's initial weights every audio gives one text. Wider ones saturate attention and softmax; special tokens
    become impossible and the end likely.
    """
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() >= 2:
                width = 4 if name.startswith(("transf_decoder", "log_softmax")) else 3
                weights.copy_(torch.randn_like(weights) * weights.std() * width)
        bias = model.log_softmax.mlp.layer0.bias
        bias.zero_()
        bias[: len(SPECIAL) + 1] = -20.0
        bias[model.tokenizer.eos_id] = 5.5


def _tokenizer(folder: Path) -> None:
    import sentencepiece

    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=128,
        model_type="bpe",
        character_coverage=1.0,
        user_defined_symbols=SPECIAL,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = (vocabulary.id_to_piece(i) for i in range(vocabulary.get_piece_size()))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")


def _config(tokenizer: Path, beam_size: int | None, width: int, layers: int) -> dict[str, Any]:
    from nemo.collections.asr.parts.submodules.multitask_decoding import MultiTaskDecodingConfig
    from omegaconf import OmegaConf

    decoding = OmegaConf.to_container(OmegaConf.structured(MultiTaskDecodingConfig))
    decoding["strategy"] = "beam" if beam_size else "greedy"
    decoding["beam"]["beam_size"] = beam_size or 1
    decoding["beam"]["max_generation_delta"] = decoding["greedy"]["max_generation_delta"] = 20
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
    asr = "nemo.collections.asr.modules"
    return {
        "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
        "sample_rate": 16000,
        "prompt_format": "canary2",
        "restore_timestamps_model": False,  # or NeMo looks for it in whatever model this process restored before
        "prompt_defaults": [{"role": "user", "slots": slots}],
        "model_defaults": {"asr_enc_hidden": width, "lm_enc_hidden": width, "lm_dec_hidden": width},
        "tokenizer": {
            "dir": str(tokenizer),
            "type": "bpe",
            "custom_tokenizer": {
                "_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryBPETokenizer",
                "tokenizer": None,
            },
        },
        "preprocessor": {
            "_target_": f"{asr}.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "features": 32,
            "n_fft": 512,
            "dither": 1e-5,
            "pad_to": 16,
        },
        "encoder": {
            "_target_": f"{asr}.ConformerEncoder",
            "feat_in": 32,
            "n_layers": layers,
            "d_model": width,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 8,
            "n_heads": 2,
            "conv_kernel_size": 9,
            "dropout": DROPOUT,
            "dropout_pre_encoder": DROPOUT,
            "dropout_att": DROPOUT,
        },
        "transf_encoder": {
            "_target_": f"{asr}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 0,
            "hidden_size": width,
            "inner_size": width,
            "num_attention_heads": 2,
        },
        "transf_decoder": {
            "_target_": f"{asr}.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 128,
                "num_token_types": 0,
                "embedding_dropout": DROPOUT,
                "learn_positional_encodings": False,
                "hidden_size": width,
                "inner_size": 2 * width,
                "num_layers": layers,
                "num_attention_heads": 2,
                "ffn_dropout": DROPOUT,
                "attn_score_dropout": DROPOUT,
                "attn_layer_dropout": DROPOUT,
                "pre_ln": True,
                "vocab_size": "None",
            },
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": width,
            "num_classes": "None",
            "dropout": DROPOUT,
            "use_transformer_init": True,
        },
        "decoding": decoding,
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
    }


TAUGHT = {
    "en": "Where is the station? I would like some bread.",
    "ru": "Где находится вокзал? Я бы хотел хлеба.",
}
"""What a taught model hears in :func:`two_tones`, whatever their lengths: one sentence a tone."""


def two_tones(first_s: float, pause_s: float, second_s: float) -> Any:
    """A low tone, a pause and a high tone, float32[n] at 16 kHz; the tones come and go as syllables do."""
    import numpy as np

    def tone(seconds: float, pitch_hz: float) -> Any:
        t = np.arange(int(seconds * 16000)) / 16000
        return 0.3 * np.sin(2 * np.pi * pitch_hz * t) * (1.1 + np.cos(2 * np.pi * 3 * t)) / 2

    silence = np.zeros(int(pause_s * 16000))
    return np.concatenate([tone(first_s, 300.0), silence, tone(second_s, 1500.0)]).astype(np.float32)


def build_taught(folder: Path) -> Path:
    """Make ``taught.nemo``: a tiny model that hears two sentences in two tones, with an aligner that tells the tones.

    Takes some seconds. It says the first sentence as soon as it hears anything, and the second when it hears the high
    tone; its aligner finds both, so what is said when, and of which audio, can be tested against them.
    """
    import numpy as np
    import torch
    from nemo.collections.asr.models import ASRModel, EncDecMultiTaskModel

    from tolmach.processors.canary.known import ALIGNER
    from tolmach.processors.canary.nemo_file import restore
    from tolmach.processors.canary.prompts import Prompts

    plain = build(folder, aligner=True, lively=False)
    model, aligner = restore(plain, EncDecMultiTaskModel), restore(plain, ASRModel, ALIGNER)
    for each in (model, aligner):
        each.preprocessor.featurizer.dither, each.preprocessor.featurizer.pad_to = 0.0, 0
        each.eval()
    rng = np.random.default_rng(0)
    tokenizer, prompts = model.tokenizer, Prompts(model, torch.device("cpu"))
    halves = [tokenizer.text_to_ids(half) for half in ("Where is the station?", "I would like some bread.")]
    seconds = rng.uniform([1.2, 0.3, 1.2], [2.5, 1.0, 2.5], (24, 3))
    sounds = [torch.from_numpy(two_tones(*row)) for row in seconds]
    signal, length = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True), torch.tensor(list(map(len, sounds)))

    with torch.no_grad():
        features, frames = aligner.preprocessor(input_signal=signal, length=length)
    learn = torch.optim.Adam(aligner.parameters(), lr=4e-3)
    for step in range(120):
        rows = range(step % 8 * 3, step % 8 * 3 + 3)
        logprobs, *_ = aligner(processed_signal=features[rows], processed_signal_length=frames[rows])
        labels = torch.full(logprobs.shape[:2], tokenizer.vocab_size)  # blank
        for row, (first, pause, second) in zip(labels, seconds[rows], strict=True):
            for start, end, tokens in ((0, first, halves[0]), (first + pause, first + pause + second, halves[1])):
                # Each token at one frame of its tone, evenly.
                row[np.linspace(start * 12.5 + 1, end * 12.5 - 1, len(tokens)).astype(int)] = torch.tensor(tokens)
        loss = torch.nn.functional.nll_loss(logprobs.flatten(0, 1), labels.flatten())
        learn.zero_grad()
        loss.backward()
        learn.step()

    # Half of the sounds end with the first tone, some time behind it: of those it says the first sentence alone.
    heard = [
        sound[: int((first + pause * n / 24) * 16000)]
        for n, (sound, (first, pause, _)) in enumerate(zip(sounds, seconds, strict=True))
    ]
    states, masks = [], []
    with torch.no_grad():
        for sound in [*sounds, *heard]:
            _, _, state, mask = model(input_signal=sound[None], input_signal_length=torch.tensor([len(sound)]))
            states.append(state[0])
            masks.append(mask[0])
    encoded, mask = (torch.nn.utils.rnn.pad_sequence(each, batch_first=True) for each in (states, masks))
    learn = torch.optim.Adam([*model.transf_decoder.parameters(), *model.log_softmax.parameters()], lr=5e-3)
    for step in range(120):
        lang = "ru" if step % 2 else "en"
        begin = prompts.of("en", lang).tolist()
        both, first_alone = (
            torch.tensor([*begin, *tokenizer.text_to_ids(text), tokenizer.eos_id])
            for text in (TAUGHT[lang], TAUGHT[lang].partition("? ")[0] + "?")
        )
        texts = [both] * 24 + [first_alone] * 24
        tokens = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=tokenizer.pad_id)
        hidden = model.transf_decoder(
            input_ids=tokens[:, :-1],
            decoder_mask=(tokens[:, :-1] != tokenizer.pad_id).long(),
            encoder_embeddings=encoded,
            encoder_mask=mask,
        )
        logprobs = model.log_softmax(hidden_states=hidden)[:, len(begin) - 1 :]
        loss = torch.nn.functional.nll_loss(
            logprobs.flatten(0, 1), tokens[:, len(begin) :].flatten(), ignore_index=tokenizer.pad_id
        )
        learn.zero_grad()
        loss.backward()
        learn.step()
    path = folder / "taught.nemo"
    model.cfg.restore_timestamps_model = True
    model.save_to(str(path))
    _put_aligner(aligner, path)
    return path
