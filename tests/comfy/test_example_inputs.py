"""The pictures that the workflows load, where ComfyUI's Load Image finds them."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "workflows" / "api"
BEFORE = Path(__file__).parent / "data" / "workflows_before" / "inputs_in_a_subfolder" / "api"


def loaded_pictures(folder: Path) -> set[str]:
    """Pictures that the workflows of a folder load."""
    prompts = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    nodes = [node for prompt in prompts for node in prompt.values()]
    return {node["inputs"]["image"] for node in nodes if node["class_type"] == "LoadImage"}


def test_load_image_lists_every_picture_of_the_workflows(pack):
    import nodes

    (listed, _) = nodes.LoadImage.INPUT_TYPES()["required"]["image"]
    assert len(loaded_pictures(SHIPPED)) == 6
    assert loaded_pictures(SHIPPED) <= set(listed)


def test_pictures_that_earlier_workflows_name_are_where_they_were(pack):
    import nodes

    named = loaded_pictures(BEFORE)
    assert {name.split("/")[0] for name in named} == {"mcdm"}
    assert all(nodes.LoadImage.VALIDATE_INPUTS(name) is True for name in named)


def test_a_changed_picture_is_restored_and_others_are_left_alone(host, base):
    changed, users = base / "input" / "mcdm_face_1.png", base / "input" / "face_1.png"
    for path in (changed, users):
        path.write_bytes(b"changed")
    host.files.example_inputs.install_example_inputs()
    assert changed.read_bytes() == (ROOT / "workflows" / "inputs" / "face_1.png").read_bytes()
    assert users.read_bytes() == b"changed"
    users.unlink()
