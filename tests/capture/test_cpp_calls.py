"""Graphs whose calls are compiled too: the same numbers, and a way back where a compiler cannot do it."""

import pytest
import torch
from torch._dynamo.utils import counters
from torch.fx.experimental.proxy_tensor import make_fx

from metagrad.capture import trace


def graph_and_inputs():
    inputs = [torch.randn(3, 4), torch.randn(4, 2)]
    graph = make_fx(lambda a, b: (torch.tanh(a @ b).sum(0), a * 2))(*inputs)
    return graph, inputs


def test_without_such_a_compiler_calls_stay_in_python(monkeypatch, caplog):
    asked = []

    def compiler(graph, inputs):
        wrapped = torch._inductor.config.cpp_wrapper
        asked.append(wrapped)
        if wrapped:
            raise RuntimeError("no such thing here")
        return graph

    monkeypatch.setattr(trace, "inductor_compiler", compiler)
    graph, inputs = graph_and_inputs()
    with caplog.at_level("INFO", "metagrad.capture"):
        run = trace.inductor_cpp_compiler(graph, inputs)
    assert asked == [True, False]
    assert "no such thing here" in caplog.text
    assert torch.equal(run(*inputs)[1], inputs[0] * 2)


def test_the_setting_does_not_outlive_the_compilation(monkeypatch):
    monkeypatch.setattr(trace, "inductor_compiler", lambda graph, inputs: graph)
    trace.inductor_cpp_compiler(*graph_and_inputs())
    assert torch._inductor.config.cpp_wrapper is False


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [trace.inductor_compiler, trace.inductor_cpp_compiler])
def test_a_graph_compiled_before_is_found_on_disk_and_gives_the_same(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    results = []
    for hits in (0, 1):
        before = counters["inductor"]["fxgraph_cache_hit"]
        graph, inputs = graph_and_inputs()
        with torch.no_grad():
            results.append(compiler(graph, inputs)(torch.ones(3, 4), torch.full((4, 2), 0.1)))
        assert counters["inductor"]["fxgraph_cache_hit"] - before == hits
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][0].allclose(3 * torch.tanh(torch.tensor([0.4, 0.4])))
