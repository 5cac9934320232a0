// What the page adds for this pack: colours of its links, folded inputs, and on each node what it warns of or is refused for.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const LINK_COLORS = { MCDM_EXPERTS: "#A3E635", MCDM_ENCODER: "#2FB5A0" };
const NOTES = { // by the name of their widget
  warning: { sign: "⚠ ", color: "#FFE2A8", background: "#4A3200", edge: "#F5A623" },
  refusal: { sign: "✖ ", color: "#FFDAD6", background: "#5A1414", edge: "#FF5449" },
};
const FONT_SIZE = 12; // px
const LINE_HEIGHT = 16; // px
const MOST_LINES = 10; // shown; others are scrolled to
const MARGIN = 4; // px that the classic rendering leaves on each side of the text, within the widget's height

const INPUT = 1; // of the two sides of a node, as the graph numbers them
const PATIENCE = [0, 200, 500, 1000]; // ms between looks for a run that has just ended
const PACK = decodeURIComponent(new URL(import.meta.url).pathname.split("/").at(-2)); // the name of its folder

function colorLinks() {
  Object.assign(app.canvas.default_connection_color_byType, LINK_COLORS);
  Object.assign(app.canvas.constructor.link_type_colors, LINK_COLORS);
  for (const [type, color] of Object.entries(LINK_COLORS)) {
    document.documentElement.style.setProperty(`--color-datatype-${type}`, color); // the slots of Nodes 2.0
  }
}

const shownGraph = () => app.rootGraph ?? app.graph;
const classOf = (node) => node.comfyClass ?? node.type;

// The nodes of an execution id, from the outside: of "5:12" node 5, and node 12 inside the subgraph that it shows.
function nodesOf(id) {
  const found = [];
  let graph = shownGraph();
  for (const part of String(id).split(":")) {
    const node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    if (!node) return [];
    found.push(node);
    graph = node.subgraph;
  }
  return found;
}

// The page may show another workflow than the one that runs; its nodes have the same ids.
function isOrigin({ node, type, workflow }) {
  const origin = nodesOf(node).at(-1);
  return origin && (!type || type === classOf(origin)) && (!workflow || workflow === shownGraph().id);
}

function noteElement(kind, text) {
  const { sign, color, background, edge } = NOTES[kind];
  const element = document.createElement("div"); // no text field: it would look like another prompt
  element.textContent = text.replaceAll(/^/gm, sign);
  Object.assign(element.style, {
    ...{ boxSizing: "border-box", padding: "4px 8px", overflowY: "auto" },
    ...{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }, // a path may be longer than the node is wide
    ...{ font: `${FONT_SIZE}px/${LINE_HEIGHT}px sans-serif`, color, background },
    ...{ borderLeft: `3px solid ${edge}`, borderRadius: "4px", userSelect: "text" },
  });
  return element;
}

function heightOf(text, width) {
  const perLine = Math.max(10, (width - 60) / (0.52 * FONT_SIZE)); // letters, of a usual sans-serif font
  const lines = text.split("\n").reduce((sum, line) => sum + Math.ceil((line.length + 2) / perLine), 0);
  return Math.min(lines, MOST_LINES) * LINE_HEIGHT + 10;
}

function resize(node, height) {
  node.setSize([node.size[0], Math.max(height, node.computeSize()[1])]);
  node.setDirtyCanvas(true, true);
}

function addNote(node, kind, texts) {
  const heightBefore = node.size[1];
  const text = [...texts.values()].join("\n");
  const height = heightOf(text, node.size[0]) + 2 * MARGIN;
  const widget = node.addDOMWidget(kind, `mcdm_${kind}`, noteElement(kind, text), {
    serialize: false, // not queued,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => height,
    getMaxHeight: () => height,
  });
  widget.serialize = false; // and not saved
  widget.texts = texts;
  resize(node, heightBefore);
  widget.added = node.size[1] - heightBefore;
  if (node.graph === app.canvas.graph) raise(node.graph);
}

const noteOf = (node, kind) => node.widgets?.find((widget) => widget.name === kind && widget.texts);

const stacking = document.head.appendChild(document.createElement("style")); // of nodes with notes, in Nodes 2.0

// A note may grow over the node below: of nodes with notes the upper ones lie in front, so that each is read whole.
// Nodes 2.0 writes a stacking of its own at every change of a node, which only a rule of the page outranks.
function raise({ nodes }) {
  const told = nodes.filter((node) => noteOf(node, "warning") || noteOf(node, "refusal"));
  told.sort((a, b) => b.pos[1] - a.pos[1]).forEach((node) => app.canvas.bringToFront?.(node));
  const rules = told.map((node, order) => `.lg-node[data-node-id="${node.id}"] { z-index: ${1000 + order} !important; }`);
  stacking.textContent = rules.join("\n");
}

function removeNote(node, kind) {
  const widget = noteOf(node, kind);
  if (!widget) return new Map();
  if (node.removeWidget) node.removeWidget(widget); // also forgets the state that newer frontends keep of it
  else {
    node.widgets.splice(node.widgets.indexOf(widget), 1);
    widget.onRemove?.();
  }
  resize(node, node.size[1] - widget.added);
  if (node.graph === app.canvas.graph) raise(node.graph);
  return widget.texts;
}

// Write a text about the node of an execution id on it, and on the subgraphs that it is in; without a text remove it.
function note(kind, id, text) {
  for (const node of nodesOf(id)) {
    if (!text && !noteOf(node, kind)?.texts.has(id)) continue;
    const texts = removeNote(node, kind);
    if (text) texts.set(id, text);
    else texts.delete(id);
    if (!texts.size) continue;
    addNote(node, kind, texts);
    watchChanges(node);
  }
}

let refused = []; // ids of the nodes that say why
let warned = []; // ids of the nodes that were warned of before the run

// Write on nodes what a prompt is told at once, in the place of what an earlier one was; returns their ids.
function retell(kind, before, told) {
  for (const id of before) note(kind, id);
  for (const { node, text } of told) note(kind, node, text);
  return told.map(({ node }) => node);
}

const says = (id, text) => nodesOf(id).some((node) => noteOf(node, "refusal")?.texts.get(id) === text);

const watched = new WeakSet();

// A refusal goes as soon as something changes at its node; whether that mends it the next prompt will tell.
function watchChanges(node) {
  if (watched.has(node)) return;
  watched.add(node);
  const forget = () => [...(noteOf(node, "refusal")?.texts.keys() ?? [])].forEach((id) => note("refusal", id));
  const { onConnectionsChange, onWidgetChanged } = node;
  node.onConnectionsChange = function (type, ...more) {
    if (type === INPUT) forget();
    return onConnectionsChange?.call(this, type, ...more);
  };
  node.onWidgetChanged = function (...change) {
    forget();
    return onWidgetChanged?.apply(this, change);
  };
}

// The classic rendering folds inputs by a property of their widgets, where Nodes 2.0 look at the schema.
function foldAdvanced(node) {
  const folded = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
  for (const widget of folded) widget.advanced = true;
  if (folded.length) node.setSize([node.size[0], node.computeSize()[1]]);
}

// An input that another node gives is not folded, as in Nodes 2.0.
function unfoldLinked(node) {
  const linked = node.inputs?.filter((input) => input.widget && input.link != null) ?? [];
  for (const { widget: { name } } of linked) {
    const widget = node.widgets?.find((widget) => widget.name === name);
    if (widget?.advanced && classOf(node)?.startsWith("MCDM_")) widget.advanced = false;
  }
}

// Whether an error of a run is a sentence of this pack, by its class and the file that raised it.
function isOurs({ exception_type, traceback }) {
  const isSentence = exception_type === "ValueError" || exception_type.includes(".mcdm_core.");
  return isSentence && traceback?.at(-1)?.replaceAll("\\", "/").includes(`/${PACK}/`);
}

// The id of the workflow that a run was queued from: the page may show another one by now.
async function workflowOf(run) {
  for (const pause of PATIENCE) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const ended = (await (await api.fetchApi(`/history/${run}`)).json())[run];
    if (ended) return ended.prompt[3]?.extra_pnginfo?.workflow?.id;
  }
}

function refuseAt(node, text) {
  note("refusal", node, text);
  refused.push(node);
}

async function showFailure({ prompt_id, node_id, node_type, exception_message }) {
  const text = exception_message.trim();
  if (refused.some((id) => says(id, text))) return; // the node that mends it, which was told first
  const failure = { node: String(node_id), type: node_type, workflow: await workflowOf(prompt_id) };
  if (isOrigin(failure)) refuseAt(failure.node, text);
}

app.registerExtension({
  name: "mcdm",
  setup() {
    colorLinks();
    api.addEventListener("executing", ({ detail }) => detail && note("warning", String(detail)));
    api.addEventListener("mcdm.warning", ({ detail }) => isOrigin(detail) && note("warning", detail.node, detail.text));
    api.addEventListener("mcdm.refusals", ({ detail: { refusals, warnings, workflow } }) => {
      const shown = (told) => told.filter((each) => isOrigin({ ...each, workflow }));
      refused = retell("refusal", refused, shown(refusals));
      warned = retell("warning", warned, shown(warnings));
    });
    api.addEventListener("mcdm.refusal", ({ detail }) => isOrigin(detail) && refuseAt(detail.node, detail.text));
    api.addEventListener("execution_error", ({ detail }) => isOurs(detail) && showFailure(detail));
  },
  nodeCreated(node) {
    if (classOf(node)?.startsWith("MCDM_")) foldAdvanced(node);
  },
  loadedGraphNode: unfoldLinked,
  afterConfigureGraph: colorLinks, // a change of the colour palette forgets types that it does not know
});
