"""The networks of the zoo: of torchvision, timm and transformers, and some layers, with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOKENS = 16
TOKEN_AXES = {"decoder_input_ids": "made"}
SAMPLES = 2000
FRAMES = 64

TORCHVISION = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 "
    "mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d "
    "shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32 maxvit_t"
)
SMALL_IMAGES = (
    "densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf "
    "resnet18 shufflenet_v2_x0_5 squeezenet1_1 vit_b_32"
)
SEGMENTATION = "fcn_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large"
DETECTION = (
    "ssdlite320_mobilenet_v3_large ssd300_vgg16 retinanet_resnet50_fpn fcos_resnet50_fpn "
    "fasterrcnn_mobilenet_v3_large_320_fpn maskrcnn_resnet50_fpn"
)
VIDEO = "r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b swin3d_t"
TIMM = (
    "beit_base_patch16_224 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32 "
    "convnext_atto crossvit_tiny_240 cspresnet50 deit_tiny_patch16_224 edgenext_xx_small efficientformer_l1 "
    "efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_100 "
    "hrnet_w18_small lcnet_050 levit_128s mixer_s32_224 mobileone_s0 mobilevit_xxs nfnet_l0 pit_ti_224 "
    "poolformer_s12 pvt_v2_b0 repvgg_a0 resmlp_12_224 rexnet_100 sequencer2d_s tinynet_e tnt_s_patch16_224 "
    "twins_pcpvt_small visformer_tiny volo_d1_224 xcit_nano_12_p16_224"
)
TEXT = (
    "albert bert bloom convbert deberta deberta-v2 distilbert electra ernie falcon gemma gemma2 gpt2 gpt_neo "
    "gpt_neox gptj llama mistral mobilebert modernbert mpnet mpt nystromformer olmo2 openai-gpt opt phi phi3 "
    "qwen2 qwen3 rembert roberta roformer squeezebert stablelm starcoder2 xglm xlm-roberta xlnet mamba "
    "mixtral"
)
TRANSLATION = "bart blenderbot-small fsmt longt5 m2m_100 marian mbart mt5 pegasus plbart prophetnet t5 umt5"
SPEECH = "data2vec-audio hubert sew unispeech wav2vec2 wavlm"
SPECTROGRAM = "speech_to_text whisper"
VISION = (
    "beit bit convnextv2 cvt data2vec-vision deit dinov2 dinov3_vit efficientnet focalnet hiera levit "
    "mobilenet_v1 mobilevit mobilevitv2 poolformer pvt pvt_v2 regnet resnet segformer siglip_vision_model "
    "swiftformer swin swinv2 textnet vit vit_msn yolos"
)
DENSE = "conditional_detr deformable_detr depth_anything detr dpt glpn mask2former maskformer rt_detr upernet"
CAPTIONED = "altclip blip chinese_clip clip clipseg flava git groupvit owlvit siglip vilt"
DECODING = "gpt2 llama qwen2"
LAYERS = "conv1d gru lstm transformer unet generator mlp"
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads", "head_num"), 4),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_key_value_heads"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "hidden_dim", "d_ff", "d_inner"), 128),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    **{"vocab_size": 100, "head_dim": 16, "d_kv": 16, "rotary_dim": 8, "use_cache": False, "output_size": 64},
    **{
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "layer_types": None,
        "num_conv_pos_embeddings": 16,
    },
    **{"max_source_positions": FRAMES // 2, "max_target_positions": 64, "num_local_experts": 2},
}
"""What makes a network of transformers small, by the names that configurations have for it."""


@dataclass(frozen=True)
class TorchNetwork:
    """A module with its inputs; `axes` names those axes of each input that may be left open."""

    module: Any
    inputs: tuple[Any, ...]
    axes: dict[str, dict[int, str]]

    def dynamic_shapes(self) -> tuple[Any, ...]:
        """Return the open axes for each argument of the module, the last of which may be several inputs."""
        import torch

        shapes = tuple(dict.fromkeys(axes, torch.export.Dim.AUTO) for axes in self.axes.values())
        arguments = inspect.signature(self.module.forward).parameters.values()
        *_, last = arguments
        if last.kind is not last.VAR_POSITIONAL:
            return shapes
        return (*shapes[: len(arguments) - 1], shapes[len(arguments) - 1 :])


# Images


def image(module: Any, *size: int) -> TorchNetwork:
    """Return a module that is given an image or a video."""
    import torch

    return TorchNetwork(module, (torch.randn(1, 3, *size),), {"image": {0: "batch"}})


def torchvision(name: str) -> TorchNetwork:
    """Return a network of torchvision that classifies or segments images."""
    from torchvision import models

    keys = {"weights_backbone": None} if name in SEGMENTATION.split() else {}
    size = 299 if name == "inception_v3" else 224
    return image(models.get_model(name, weights=None, **keys), size, size)


def small_images(name: str) -> TorchNetwork:
    """Return a network of torchvision that classifies small images."""
    from torchvision import models

    if name == "vit_b_32":
        return image(models.VisionTransformer(32, 8, 2, 4, 64, 128), 32, 32)
    size = 64 if name == "squeezenet1_1" else 32
    return image(models.get_model(name, weights=None), size, size)


def detection(name: str) -> TorchNetwork:
    """Return a network of torchvision that finds objects."""
    import torch
    from torchvision import models

    keys = {"min_size": 160, "max_size": 160} if "fpn" in name else {}
    module = models.get_model(name, weights=None, weights_backbone=None, **keys)

    class Boxes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, given: Any) -> Any:
            return self.module([given[0]])[0]["boxes"]

    size = 160 if keys else 320 if "320" in name else 300
    return image(Boxes(), size, size)


def video(name: str) -> TorchNetwork:
    """Return a network of torchvision for videos."""
    from torchvision import models

    size = 224 if name == "mvit_v1_b" else 112
    return image(models.get_model(name, weights=None), 16, size, size)


def timm_image(name: str) -> TorchNetwork:
    """Return a network of timm."""
    import timm

    module = timm.create_model(name, exportable=True)
    size = module.default_cfg["input_size"][-1]
    return image(module, size, size)


# Transformers


def _small(name: str) -> Any:
    """Return the configuration of a small network of transformers, and of those that it is made of."""
    from transformers import AutoConfig

    usual = AutoConfig.for_model(name)
    kept = usual.to_dict()
    known: dict[str, Any] = {key: value for key, value in SMALL.items() if key in kept}
    for key, kind in getattr(usual, "sub_configs", {}).items():
        if key in ("text_config", "vision_config", "image_config", "multimodal_config"):
            own = getattr(usual, key) or kind()
            known[key] = {k: v for k, v in SMALL.items() if k in own.to_dict()}
            known[key] |= {"image_size": 64, "patch_size": 16} if hasattr(own, "patch_size") else {}
    if name == "gpt_neo":
        known["attention_types"] = [[["global", "local"], 1]]
    return AutoConfig.for_model(name, **known)


def _with_inputs(config: Any, **given: Any) -> TorchNetwork:
    """Return a network of transformers that takes inputs in an order and returns its last state, if any."""
    import torch
    from transformers import AutoModel

    class OneOutput(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = AutoModel.from_config(config, attn_implementation="eager")

        def forward(self, *values: Any) -> Any:
            made = self.module(**dict(zip(given, values, strict=True)), return_dict=True)
            return made.last_hidden_state if "last_hidden_state" in made else made[0]

    tokens = {x: {0: "batch", 1: TOKEN_AXES.get(x, "tokens")} for x in given if x.endswith(("ids", "mask"))}
    return TorchNetwork(OneOutput(), tuple(given.values()), {x: {0: "batch"} for x in given} | tokens)


def _ids(count: int = TOKENS) -> Any:
    import torch

    return torch.randint(3, 99, (1, count))


def text(name: str) -> TorchNetwork:
    """Return an encoder or a decoder of texts, with a mask."""
    import torch

    ids = _ids()
    given = (
        {"input_ids": ids} if name == "mamba" else {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    )
    return _with_inputs(_small(name), **given)


def translation(name: str) -> TorchNetwork:
    """Return an encoder of texts with a decoder."""
    import torch

    ids = _ids()
    return _with_inputs(
        _small(name), input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=_ids(TOKENS // 2)
    )


def speech(name: str) -> TorchNetwork:
    """Return an encoder of sound."""
    import torch

    return _with_inputs(_small(name), input_values=torch.randn(1, SAMPLES))


def spectrogram(name: str) -> TorchNetwork:
    """Return an encoder of the frequencies of sound, with a decoder of texts."""
    import torch

    config = _small(name)
    shape = (1, FRAMES, 80) if name == "speech_to_text" else (1, config.num_mel_bins, FRAMES)
    return _with_inputs(config, input_features=torch.randn(shape), decoder_input_ids=_ids())


def vision(name: str) -> TorchNetwork:
    """Return an encoder of images, of its usual size."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.for_model(name)
    size = getattr(config, "image_size", 224)
    size = min(size if isinstance(size, int) else size[0], 224)
    return _with_inputs(config, pixel_values=torch.randn(1, 3, size, size))


def dense(name: str) -> TorchNetwork:
    """Return a network of transformers that finds or segments objects, or depths."""
    import torch
    from transformers import AutoConfig

    keys = {"use_pretrained_backbone": False} if "detr" in name and name != "rt_detr" else {}
    config = AutoConfig.for_model(name, **keys)
    size = min(getattr(config, "image_size", None) or 128, 224)
    return _with_inputs(config, pixel_values=torch.randn(1, 3, size, size))


def captioned(name: str) -> TorchNetwork:
    """Return a network for an image with a text."""
    import torch

    config = _small(name)
    own = getattr(config, "vision_config", None) or getattr(config, "image_config", config)
    size = own.image_size
    ids = _ids()
    return _with_inputs(
        config, input_ids=ids, pixel_values=torch.randn(1, 3, size, size), attention_mask=torch.ones_like(ids)
    )


def decoding(name: str) -> TorchNetwork:
    """Return a language model that makes one token after others, whose keys and values it is given."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    config = _small(name)
    config.use_cache = True
    module = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    past = [torch.randn(1, heads, TOKENS - 1, width) for _ in range(2 * config.num_hidden_layers)]

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, ids: Any, mask: Any, *past: Any) -> Any:
            cache = DynamicCache([*zip(past[::2], past[1::2], strict=True)])
            made = self.module(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
            kept = [x for layer in made.past_key_values.layers for x in (layer.keys, layer.values)]
            return made.logits, *kept

    names = [f"past_{i // 2}_{'value' if i % 2 else 'key'}" for i in range(len(past))]
    axes = {"ids": {0: "batch"}, "mask": {0: "batch", 1: "tokens"}}
    axes |= {x: {0: "batch", 2: "past"} for x in names}
    return TorchNetwork(Step(), (_ids(1), torch.ones(1, TOKENS, dtype=torch.int64), *past), axes)


# Layers


def layers(name: str) -> TorchNetwork:
    """Return a small network of the layers of torch."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.module, self.head = kind(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.module(x)[0])

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
            self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 2, 3, padding=1)

        def forward(self, x: Any) -> Any:
            high = self.down(x)
            return self.last(torch.cat([high, self.up(self.deep(high))], 1))

    modules: dict[str, Callable[[], tuple[Any, tuple[int, ...]]]] = {
        "conv1d": lambda: (
            nn.Sequential(nn.Conv1d(4, 8, 5, 2), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2), nn.AvgPool1d(2)),
            (4, 64),
        ),
        "gru": lambda: (Recurrent(nn.GRU), (6, 8)),
        "lstm": lambda: (Recurrent(nn.LSTM), (6, 8)),
        "transformer": lambda: (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
            (8, 32),
        ),
        "unet": lambda: (UNet(), (3, 16, 16)),
        "generator": lambda: (
            nn.Sequential(
                nn.ConvTranspose2d(16, 8, 4, 1, 0), nn.ReLU(), nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Tanh()
            ),
            (16, 1, 1),
        ),
        "mlp": lambda: (
            nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 10)),
            (32,),
        ),
    }
    module, shape = modules[name]()
    return TorchNetwork(module, (torch.randn(1, *shape),), {"x": {0: "batch"}})


FAMILIES: dict[str, tuple[str, str, Callable[[str], TorchNetwork]]] = {
    "layers": ("layers of torch", LAYERS, layers),
    "text": ("transformers: encoders and decoders of texts", TEXT, text),
    "decoding": ("transformers: one token, with keys and values of others", DECODING, decoding),
    "translation": ("transformers: encoder with decoder", TRANSLATION, translation),
    "speech": ("transformers: sound", SPEECH, speech),
    "spectrogram": ("transformers: sound with decoder", SPECTROGRAM, spectrogram),
    "captioned": ("transformers: images with texts", CAPTIONED, captioned),
    "small": ("torchvision: small images", SMALL_IMAGES, small_images),
    "timm": ("timm", TIMM, timm_image),
    "torchvision": ("torchvision: images", TORCHVISION, torchvision),
    "segmentation": ("torchvision: segmentation", SEGMENTATION, torchvision),
    "detection": ("torchvision: detection", DETECTION, detection),
    "video": ("torchvision: videos", VIDEO, video),
    "vision": ("transformers: images", VISION, vision),
    "dense": ("transformers: detection and segmentation", DENSE, dense),
}
"""What networks are, their names, and what makes one of them."""
