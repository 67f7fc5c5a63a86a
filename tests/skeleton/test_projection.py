import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.skeleton.projection import GraphProjection

KINDS = ["linear", "mlp"]


def projection(kind, dimensions=7):
    torch.manual_seed(0)
    return GraphProjection(joints=4, dimensions=dimensions, kind=kind)


def graphs(n=5):
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_unit_length(kind):
    feature = projection(kind)(graphs())
    assert feature.shape == (5, 7)
    torch.testing.assert_close(feature.norm(dim=1), torch.ones(5))


def test_the_linear_head_is_one_product():
    head, graph = projection("linear"), graphs()
    expected = graph.flatten(1) @ head.enter.weight.T
    torch.testing.assert_close(head(graph), expected / expected.norm(dim=1, keepdim=True))


def test_the_mlp_has_a_relu_between_two_layers():
    head, graph = projection("mlp"), graphs()
    expected = (graph.flatten(1) @ head.enter.weight.T).clamp(min=0) @ head.leave.weight.T
    torch.testing.assert_close(head(graph), expected / expected.norm(dim=1, keepdim=True))
    assert len(list(head.parameters())) == 2


@given(size=st.floats(1e-3, 1e3), kind=st.sampled_from(KINDS))
def test_the_size_of_a_graph_does_not_matter(size, kind):
    head = projection(kind)
    torch.testing.assert_close(head(graphs() * size), head(graphs()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_without_anybody_has_the_zero_feature_and_a_finite_gradient(kind):
    head = projection(kind)
    graph = graphs()
    graph[2] = 0
    graph.requires_grad_()
    feature = head(graph)
    assert feature[2].abs().max() == 0
    feature.sum().backward()
    assert torch.isfinite(graph.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_float32_also_under_autocast(kind):
    head = projection(kind)
    plain = head(graphs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(graphs()), plain)
        half = head(graphs().bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, head(graphs().bfloat16().float()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind):
    head = projection(kind)
    (head(graphs())[:, 0]).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())
