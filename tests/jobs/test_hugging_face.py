"""Models of Hugging Face, built from their configurations: jobs 1 to 6 of a user, against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import (
    BatchEncoding,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from jobs.by_hand import by_hand, check, one_warning
from metagrad import SGD, Binomial, Exact, MetaLearner, Objective, Task
from rules.by_hand import sgd

# Names that work in version 5 as in version 4, and that peft uses too.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")

K, T, LR = 3, 2, 0.1
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def loss(model, batch):
    return model(**batch).loss


def expected(net, tasks, **options):
    each = [tasks.take(t) for t in range(T)]
    return [by_hand(net, loss, loss, task.support, task.query, K, sgd(LR), **options) for task in each]


def make_bert(attention):
    settings = BertConfig(
        vocab_size=50, max_position_embeddings=16, attn_implementation=attention, **SMALL, **NO_DROPOUT
    )
    return BertForSequenceClassification(settings).double()


def sentences(kind, length=7):
    mask = torch.ones(T, 4, length, dtype=torch.long)
    mask[:, 1, 4:] = mask[:, 3, 5:] = 0
    ids, labels = torch.randint(1, 50, mask.shape), torch.randint(0, 3, (T, 4))
    return kind({"input_ids": ids, "attention_mask": mask, "labels": labels})


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", [dict, BatchEncoding])
def test_bert_with_masks_and_labels(attention, kind):
    net, tasks = make_bert(attention), Task(sentences(kind), sentences(kind, length=5))
    learner = MetaLearner(net, Objective(loss), SGD(LR), K, Exact())
    with one_warning("task_chunk=1 and link_chunk=1"):
        check(learner.meta_gradient(tasks), expected(net, tasks))
    quiet = MetaLearner(net, Objective(loss), SGD(LR), K, Binomial(K), task_chunk=1, link_chunk=1)
    check(quiet.meta_gradient(tasks), expected(net, tasks))


def causal(logits, labels, vocab_size, **_):
    """As the loss that GPT-2 comes with, which rounds logits to float32."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def make_gpt2():
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    net = GPT2LMHeadModel(GPT2Config(**sizes, **dropout, bos_token_id=0, eos_token_id=0)).double()
    net.loss_function = causal
    return net


def text(length=8):
    ids = torch.randint(1, 50, (T, 3, length))
    return {"input_ids": ids, "labels": ids}


@pytest.mark.parametrize("estimator", [Exact(), Binomial(K)], ids=repr)
def test_gpt2_adapts_on_one_text_and_is_asked_about_another(estimator):
    net, tasks = make_gpt2(), Task(text(), text(length=6))
    check(MetaLearner(net, Objective(loss), SGD(LR), K, estimator).meta_gradient(tasks), expected(net, tasks))


def test_gpt2_with_gradient_checkpointing():
    net, tasks = make_gpt2(), Task(text(), text())
    wanted = expected(net, tasks)  # `functional_call` loses the parameters that a checkpoint computes again with
    net.gradient_checkpointing_enable()
    with one_warning("derivatives='autograd' silences this"):
        check(MetaLearner(net, Objective(loss), SGD(LR), K, Exact()).meta_gradient(tasks), wanted)
    quiet = MetaLearner(net, Objective(loss), SGD(LR), K, Exact(), derivatives="autograd")
    check(quiet.meta_gradient(tasks), wanted)


def test_gradient_checkpointing_that_plain_pytorch_cannot_differentiate_twice_names_the_switch():
    net = make_gpt2()
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    learner = MetaLearner(net, Objective(loss), SGD(LR), K, Exact(), derivatives="autograd")
    with pytest.raises(RuntimeError, match="use_reentrant=True") as raised:
        learner.meta_gradient(Task(text(), text()))
    assert "use_reentrant=False" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("thawed", "options"),
    [
        (False, {}),
        (True, {"adapts": "*lora_*"}),
        (True, {"adapts": "*lora_*", "learn_start": False}),
        (False, {"adapts": "*lora_A*"}),
    ],
    ids=["adapters-adapt-and-are-learned", "all-is-learned", "body-is-learned", "one-half-adapts"],
)
@pytest.mark.parametrize("at_zero", [True, False], ids=["adapters-at-zero", "adapters-anywhere"])
def test_lora(thawed, options, at_zero):
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=at_zero)
    net, tasks = get_peft_model(make_gpt2(), config).double(), Task(text(), text())
    if thawed:
        net.requires_grad_(True)
    result = MetaLearner(net, Objective(loss), SGD(LR), K, Exact(), **options).meta_gradient(tasks)
    pattern = options.get("adapts", "").strip("*")
    check(result, expected(net, tasks, adapts=lambda name: pattern in name))
    assert ("lora_A" in "".join(result.gradient["model"])) is options.get("learn_start", True)
    assert (len(result.gradient["model"]) > 8) is thawed


def pictures(size):
    return {"pixel_values": torch.randn(T, 4, 1, size, size).double(), "labels": torch.randint(0, 3, (T, 4))}


def test_vision_transformer():
    net = ViTForImageClassification(
        ViTConfig(image_size=8, patch_size=4, num_channels=1, **SMALL, **NO_DROPOUT)
    ).double()
    tasks = Task(pictures(8), pictures(8))
    check(MetaLearner(net, Objective(loss), SGD(LR), K, Exact()).meta_gradient(tasks), expected(net, tasks))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_resnet(mode):
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"}
    net = ResNetForImageClassification(ResNetConfig(num_channels=1, num_labels=3, **sizes)).double()
    net(2 * pictures(16)["pixel_values"][0] + 1)  # running statistics that differ from those of a batch
    getattr(net, mode)()
    before, tasks = {n: b.clone() for n, b in net.named_buffers()}, Task(pictures(16), pictures(16))
    result = MetaLearner(net, Objective(loss), SGD(LR), K, Exact()).meta_gradient(tasks)
    check(result, expected(net, tasks))
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())
