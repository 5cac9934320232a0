"""The pictures that the workflows load, where ComfyUI's Load Image finds them."""

import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "workflows" / "api"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def loaded_pictures(prompts: Iterable[dict]) -> set[str]:
    """Pictures that workflows load."""
    nodes = [node for prompt in prompts for node in prompt.values()]
    return {node["inputs"]["image"] for node in nodes if node["class_type"] == "LoadImage"}


def test_load_image_lists_every_picture_of_the_workflows(pack):
    import nodes

    (listed, _) = nodes.LoadImage.INPUT_TYPES()["required"]["image"]
    loaded = loaded_pictures(map(read, SHIPPED.glob("*.json")))
    assert len(loaded) == 8
    assert loaded <= set(listed)


def test_a_changed_picture_is_restored_and_others_are_left_alone(host, base):
    changed, users = base / "input" / "mcdm_face_1.png", base / "input" / "face_1.png"
    for path in (changed, users):
        path.write_bytes(b"changed")
    host.files.expert_folders.install_example_inputs()
    assert changed.read_bytes() == (ROOT / "workflows" / "inputs" / "face_1.png").read_bytes()
    assert users.read_bytes() == b"changed"
    users.unlink()
