"""Grids, plots and warnings call experts by their nodes' titles, where these tell them apart."""

import logging
from dataclasses import replace

import pytest


@pytest.fixture
def titled(host, load, chain, monkeypatch):
    """A chain of two experts whose nodes have these titles in the running prompt."""

    def of(*titles, kinds=("hair", "skin")):
        experts = chain(*map(load, kinds))
        experts = tuple(replace(expert, node=str(place)) for place, expert in enumerate(experts))
        nodes = {
            str(place): {"class_type": "MCDM_Expert", "inputs": {}, "_meta": {"title": title}}
            for place, title in enumerate(titles)
        }
        page = host.comfyui.page
        running = page.RunningPrompt("prompt", "0", nodes, page.Page(None, None))
        monkeypatch.setattr(host.chain.titles, "running_prompt", lambda: running)
        return experts

    return of


@pytest.fixture
def names(host, titled):
    return lambda *titles: host.chain.titles.shown_names(titled(*titles))


def test_a_title_of_its_own_names_an_expert(names):
    assert names("Fox", "Snow") == ["Fox", "Snow"]


@pytest.mark.parametrize("titles", [(), ("Diffusion Expert", "Expert de diffusion"), ("Fox", "Fox"), (None, 3)])
def test_others_are_named_as_in_messages(names, titles):
    assert names(*titles) == ["expert 1 (small hair)", "expert 2 (small skin)"]


def test_what_wants_a_sampler_with_noise_is_named_as_its_node(host, titled, caplog):
    experts, ksampler = titled("Fox", "my caption", kinds=("hair", "text")), host.run.ksampler
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        ksampler.warn_of_sampler(experts, ksampler.Widgets(2, "euler", "simple", 1.0))
    assert "My caption follows its caption better with noise" in caplog.text
