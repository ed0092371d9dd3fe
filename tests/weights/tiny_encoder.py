"""A tiny random BERT with a real tokenizer, as a folder of weights to compile."""

from __future__ import annotations

from pathlib import Path

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz?!.,'0123456789")


def write_weights(folder: Path) -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json``, and return the folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    pieces = {p: i for i, p in enumerate((*VOCABULARY, *(f"##{p}" for p in VOCABULARY[4:])))}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # The published tokenizer pads and cuts too; what is compiled must not.
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(128)
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    folder.mkdir(parents=True)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
