"""Grids and plots call experts by their nodes' titles, where these tell them apart."""

from dataclasses import replace

import pytest


@pytest.fixture
def names(host, load, chain, monkeypatch):
    def of(*titles):
        experts = chain(load("hair"), load("skin"))
        experts = tuple(replace(expert, node=str(place)) for place, expert in enumerate(experts))
        nodes = {
            str(place): {"class_type": "MCDM_Expert", "inputs": {}, "_meta": {"title": title}}
            for place, title in enumerate(titles)
        }
        page = host.comfyui.page
        running = page.RunningPrompt("prompt", "0", nodes, page.Page(None, None))
        monkeypatch.setattr(host.chain.titles, "running_prompt", lambda: running)
        return host.chain.titles.shown_names(experts)

    return of


def test_a_title_of_its_own_names_an_expert(names):
    assert names("Fox", "Snow") == ["Fox", "Snow"]


@pytest.mark.parametrize("titles", [(), ("Diffusion Expert", "Expert de diffusion"), ("Fox", "Fox"), (None, 3)])
def test_others_are_named_as_in_messages(names, titles):
    assert names(*titles) == ["expert 1 (small hair)", "expert 2 (small skin)"]
