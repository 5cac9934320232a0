"""How the shipped workflows look as the page opens them, measured in their files: 1600 × 950 pixels, nothing moved."""

import re
import uuid
from collections import Counter
from itertools import combinations
from pathlib import Path, PurePosixPath

import pytest

from mcdm_core.text.vocabulary import people_in, tokenize

from ..support.workflow_twins import FROM_THIS_REPOSITORY, NOTES, read_json

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
SHIPPED = {path.name for path in (ROOT / "experts").glob("*.safetensors")}
TITLE = 30  # pixels of a node's title, above its position
# Pixels of the canvas that side bar, tabs and Run bar leave, and those under the map and the zoom bar, in all frontends
# together: in 1.27.10 the canvas is the 1536 × 872 pixels beside and below the bars, in newer ones the whole page.
FREE = (62, 92, 1530, 870)  # left, top, right, bottom
WINDOW, FITTED, MARGIN = (1600, 950), 0.75, 10  # pixels; what nodes of a template are fitted to; pixels around them
MINIMAP = (1240, 605, 1596, 892)
ZOOM_BAR = (1210, 810, 1596, 950)

# Pixels below the title that a node needs, the largest found in the frontends 1.27.10, 1.49.6 and 1.58.1, classic and
# Nodes 2.0; with a preview of a picture where the node shows one. Of Choose Samples, Logic Sampler, Fewer Passes and
# nodes that only the workflows of Wan and the refiner have, it is reckoned from others with as many inputs and widgets.
PICTURE = 250
LEAST = {
    "BasicScheduler": 118,
    "CLIPLoader": 146,
    "CLIPTextEncode": 102,
    "CheckpointLoaderSimple": 102,
    "DualCLIPLoader": 146,
    "EmptyHunyuanLatentVideo": 154,
    "EmptyLatentImage": 118,
    "FeatherMask": 146,
    "FluxGuidance": 62,
    "InpaintModelConditioning": 142,
    "InstructPixToPixConditioning": 94,
    "InvertMask": 34,
    "KSamplerSelect": 62,
    "LoadImage": 350,
    "KSampler": 262,
    "LoraLoader": 138,
    "LoraLoaderModelOnly": 90,
    "LoraModelLoader": 106,
    "LossGraphNode": 62 + PICTURE,
    "MCDM_Choose": 130,
    "MCDM_EmptyLatent": 86,
    "MCDM_EncodeClass": 138,
    "MCDM_EncodeLowRes": 118,
    "MCDM_EncodeMap": 170,
    "MCDM_EncodeSketch": 150,
    "MCDM_EncodeText": 146,
    "MCDM_Expert": 270,
    "MCDM_ExpertRemote": 400,
    "MCDM_Guider": 86,
    "MCDM_KSampler": 246 + PICTURE,
    "MCDM_LoadExpert": 126,
    "MCDM_Logic": 170,
    "MCDM_OwnNullGuider": 86,
    "MCDM_Passes": 302,
    "MCDM_RandomNoise": 114,
    "MCDM_ReliabilitySweep": 394 + PICTURE,
    "MCDM_SamplerDDIM": 86,
    "MCDM_Schedule": 165,
    "MCDM_Sigmas": 122,
    "MCDM_TrainLora": 380,
    "MarkdownNote": 200,
    "MaskComposite": 138,
    "MaskPreview": 34 + PICTURE,
    "ModelSamplingSD3": 62,
    "PreviewAny": 150,
    "PreviewImage": 34 + PICTURE,
    "RandomNoise": 82,
    "SamplerCustomAdvanced": 114 + PICTURE,
    "SaveAnimatedWEBP": 178 + PICTURE,
    "SaveImage": 70 + PICTURE,
    "SaveLoRA": 136,
    "SolidMask": 118,
    "TomePatchModel": 62,
    "UNETLoader": 90,
    "VAEDecode": 54,
    "VAELoader": 62,
}
NARROWEST = {"MCDM_EncodeMap": 276}  # pixels across, in which Nodes 2.0 draw its advanced inputs' button
# Nodes 2.0 hang a button for the advanced inputs below these, and enlarge them when it is pressed.
UNFOLDED = {"MCDM_EncodeClass": 170, "MCDM_EncodeMap": 202, "MCDM_EncodeSketch": 182, "MCDM_ExpertRemote": 500}
BUTTON = 35
# A warning makes these taller while it is shown: all that read a text or a picture, or sample.
WARNED = {
    *("MCDM_EncodeLowRes", "MCDM_EncodeMap", "MCDM_EncodeSketch", "MCDM_EncodeText"),
    *("MCDM_KSampler", "MCDM_ReliabilitySweep", "SamplerCustomAdvanced"),
}
WARNING = 70
# Nodes 2.0 hang as high a line below loaders whose file is missing, with "Error" in it.
LOADERS = {"CLIPLoader", "CheckpointLoaderSimple", "DualCLIPLoader", "LoraLoader", "LoraLoaderModelOnly"}
LOADERS |= {"MCDM_LoadExpert", "UNETLoader", "VAELoader"}

DARKEST_TEXT = "#8A8A8A"  # of a note, among the frontends
CORE_COLORS = [
    *("#FFD500", "#FF6E6E", "#FFA931", "#FF9CF9", "#64B5F6", "#81C784"),
    *("#B39DDB", "#B0B0B0", "#66FFFF", "#ECB4B4", "#CDFFCD", "#99AA99"),
]
LINKS = re.search(r"LINK_COLORS = \{(.*)\}", (ROOT / "web" / "mcdm.js").read_text(encoding="utf-8"))


def page(name: str) -> dict:
    return read_json(ROOT / "workflows" / f"{name}.json")


def box(node: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in the graph, as large as the node may become."""
    (x, y), (width, height) = node["pos"], node["size"]
    unfolded = UNFOLDED.get(node["type"])
    room = height if unfolded is None else max(height, unfolded) + BUTTON
    if node["type"] in LOADERS and node["widgets_values"][0] not in SHIPPED:
        room += BUTTON
    return x, y - TITLE, x + width, y + room + (WARNING if node["type"] in WARNED else 0)


def on_screen(graph: dict, node: dict) -> tuple[float, ...]:
    view = graph["extra"]["ds"]
    return tuple((value + view["offset"][place % 2]) * view["scale"] for place, value in enumerate(box(node)))


def overlap(first: tuple, second: tuple) -> bool:
    return all(first[side] < second[side + 2] and second[side] < first[side + 2] for side in (0, 1))


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    digits = color.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_and_white_is_21():
    assert contrast("#000", "#FFFFFF") == pytest.approx(21)


def test_every_workflow_has_an_id_of_its_own():
    ids = {page(name)["id"] for name in NAMES}
    assert len(ids) == len(NAMES)
    assert str(uuid.UUID(int=0)) not in ids  # to the page: none


START = ["(1) Faces - start here", "(2) Two checkpoints, one picture", "(3) Checkpoint and LoRA"]


def test_the_first_three_templates_are_those_to_begin_with():
    def a_to_z(name: str) -> tuple[bool, str]:  # as the page sorts them: titles that begin with a digit come last
        return name[0].isdigit(), name.lower()

    assert sorted(NAMES, key=a_to_z)[:3] == START


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_by_a_title_that_fits_below_its_thumbnail(name):
    assert re.fullmatch(r"[A-Za-z0-9 ,()-]{5,36}", name)  # no more; nor what file systems or addresses change


@pytest.mark.parametrize("name", NAMES)
def test_text_is_drawn_at_the_zoom_it_opens_with(name):
    assert page(name)["extra"]["ds"]["scale"] >= 0.6  # below, the classic rendering draws none


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_at_a_zoom_that_draws_text_in_a_small_window(name):
    """As newer frontends open one: whatever view it was saved with, they fit its nodes to three quarters of it."""
    nodes = page(name)["nodes"]
    left, top = (min(node["pos"][side] for node in nodes) for side in (0, 1))
    right, bottom = (max(node["pos"][side] + node["size"][side] for node in nodes) for side in (0, 1))
    width, height = right - left + 2 * MARGIN, bottom - top + TITLE + 2 * MARGIN
    assert min(FITTED * WINDOW[0] / width, FITTED * WINDOW[1] / height) >= 0.6


@pytest.mark.parametrize("name", NAMES)
def test_the_note_is_at_the_upper_left(name):
    nodes = page(name)["nodes"]
    (note,) = [node for node in nodes if node["type"] in NOTES]
    assert note["pos"] == [min(node["pos"][side] for node in nodes) for side in (0, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_no_node_grows_when_it_is_drawn(name):
    for node in page(name)["nodes"]:
        width, height = node["size"]
        assert height >= LEAST[node["type"]], node["type"]
        assert width >= NARROWEST.get(node["type"], 0), node["id"]


@pytest.mark.parametrize("name", NAMES)
def test_no_node_lies_over_another(name):
    boxes = [(node["id"], box(node)) for node in page(name)["nodes"]]
    assert not [(a, b) for (a, first), (b, second) in combinations(boxes, 2) if overlap(first, second)]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_lies_under_the_bars_and_the_map(name):
    graph = page(name)
    for node in graph["nodes"]:
        seen = on_screen(graph, node)
        assert all(seen[side] >= FREE[side] and seen[side + 2] <= FREE[side + 2] for side in (0, 1)), (node["id"], seen)
        assert not overlap(seen, MINIMAP), (node["id"], seen)
        assert not overlap(seen, ZOOM_BAR), (node["id"], seen)


@pytest.mark.parametrize("name", NAMES)
def test_every_group_holds_the_nodes_that_it_touches(name):
    graph = page(name)
    for group in graph["groups"]:
        x, y, width, height = group["bounding"]
        for node in graph["nodes"]:
            left, top, right, bottom = box(node)
            if overlap((x, y, x + width, y + height), (left, top, right, bottom)):
                inside = x <= left and y <= top and right <= x + width and bottom <= y + height
                assert inside, (group["title"], node["id"])


@pytest.mark.parametrize("name", NAMES)
def test_the_note_is_short_and_can_be_read(name):
    (note,) = [node for node in page(name)["nodes"] if node["type"] in NOTES]
    words = re.sub(r"\(https?:[^)]*\)", "", note["widgets_values"][0]).split()
    assert len(words) <= 130
    assert contrast(DARKEST_TEXT, note["bgcolor"]) >= 4.5
    assert contrast("#FFF", note["bgcolor"]) >= 4.5


def test_links_of_experts_have_a_colour_of_their_own():
    """Not close to those of ComfyUI's types in its dark palette."""
    colors = dict(re.findall(r'(MCDM_\w+): "(#\w{6})"', LINKS.group(1)))
    assert colors.keys() == {"MCDM_EXPERTS", "MCDM_ENCODER"}
    for color in colors.values():
        others = [*CORE_COLORS, *(set(colors.values()) - {color})]
        assert min(_distance(color, other) for other in others) > 60


def _distance(first: str, second: str) -> float:
    pairs = [(int(first[place : place + 2], 16), int(second[place : place + 2], 16)) for place in (1, 3, 5)]
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def test_no_two_pictures_are_saved_under_one_name():
    saved = [node["widgets_values"][0] for name in NAMES for node in page(name)["nodes"] if node["type"] == "SaveImage"]
    assert len(saved) >= len(NAMES)
    assert not [prefix for prefix, times in Counter(saved).items() if times > 1]


FOLDERS = {"CheckpointLoaderSimple": "checkpoints", "LoraLoader": "loras", "MCDM_LoadExpert": "mcdm"}
FOLDERS |= {"LoraLoaderModelOnly": "loras", "UNETLoader": "diffusion_models"}
FOLDERS |= {"CLIPLoader": "text_encoders", "DualCLIPLoader": "text_encoders", "VAELoader": "vae"}
IN_A_REPOSITORY = dict.fromkeys(("model_latest.pt", "model_sketch.pt"), "https://github.com/Nithin-GK/UniteandConquer")
DOWNLOADS = re.compile(r"https://civitai\.com/api/download/models/\d+")  # names the file only as it sends it


def is_a_file(url: str, name: str) -> bool:
    """Whether who follows a URL gets a file, not a page about it."""
    address = url.partition("?")[0]
    return address.startswith("https://") and (address.endswith(f"/{name}") or bool(DOWNLOADS.fullmatch(address)))


def test_a_page_is_not_a_file():
    assert is_a_file("https://example.org/resolve/main/a.pt?download=true", "a.pt")
    assert not is_a_file("https://example.org/a.pt/tree", "a.pt")
    assert not is_a_file("https://example.org/?file=/a.pt", "a.pt")


@pytest.mark.parametrize("name", NAMES)
def test_loaders_of_files_that_may_be_missing_say_where_they_come_from(name):
    """The page takes no entry without an address, so what has none of its own is linked in the note alone.

    Of what is copied from this repository, the note names the folder, the file there and the name of the copy.
    """
    nodes = page(name)["nodes"]
    (note,) = [node["widgets_values"][0] for node in nodes if node["type"] in NOTES]
    for node in nodes:
        models = node["properties"].get("models", [])
        if (folder := FOLDERS.get(node["type"])) is None or (file := node["widgets_values"][0]) in SHIPPED:
            assert not models
            continue
        if file in IN_A_REPOSITORY:
            assert file in note
            assert IN_A_REPOSITORY[file] in note
        elif file in FROM_THIS_REPOSITORY:
            source = PurePosixPath(FROM_THIS_REPOSITORY[file])
            assert (ROOT / source).is_file()
            assert not models
            assert f"folder {source.parent}" in note
            assert f"{source.name} as {file}" in note
            assert f"models/{folder}/" in note
        else:
            assert file in {model["name"] for model in models}
        for model in models:
            assert model.keys() == {"name", "url", "directory"}
            assert model["directory"] == folder
            assert is_a_file(model["url"], model["name"]), model["url"]


OF_THIS_PACK = [name for name in NAMES if name.startswith(("(1)", "Faces", "Scenes"))]


@pytest.mark.parametrize("name", OF_THIS_PACK)
def test_the_note_of_our_experts_says_what_is_downloaded_and_which_words_and_pictures_there_are(name):
    nodes = page(name)["nodes"]
    (note,) = [node["widgets_values"][0] for node in nodes if node["type"] in NOTES]
    loads_files = any(_file(node) not in SHIPPED for node in nodes if node["type"] == "MCDM_LoadExpert")
    assert loads_files or re.search(r"Nothing to download; about \d+ s, measured on two CPU cores\.", note)
    kinds = {node["type"] for node in nodes}
    at_first = "(1) Faces - start here" in note
    if "MCDM_EncodeText" in kinds:
        assert loads_files or at_first or {"red", "blue", "purple", "dark", "white"} <= {*re.findall(r"\w+", note)}
    if "LoadImage" in kinds:
        assert loads_files or at_first or "mcdm_face_1 to 4" in note


@pytest.mark.parametrize("name", NAMES)
def test_captions_of_faces_have_no_word_that_the_expert_ignores(name):
    nodes = {node["id"]: node for node in page(name)["nodes"]}
    sources = {link[3]: link[1] for link in page(name)["links"] if link[5] == "MCDM_ENCODER"}
    for node in nodes.values():
        if node["type"] == "MCDM_EncodeText" and _file(nodes[sources[node["id"]]]) == "text.safetensors":
            text = node["widgets_values"][0]
            assert [*people_in(text), *tokenize(text)[1]] == []


def _file(node: dict) -> str:
    return node["widgets_values"][0]
