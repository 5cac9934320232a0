"""Several MODELs of one network: what differs between them, and how one batch serves all.

An expert's own MODEL is asked through up to four others, each of which is the MODEL itself where nothing is shared:

- its stand-in, the first MODEL of the chain that predicts the same (`adapter_groups.stand_ins`);
- the one in whose batch the stand-in is asked, of those that differ in adapters alone (`SharedNetworks.asked_with`);
- the base of these, which has only the patches that are common to all (`RowAdapters.base`);
- the one that ComfyUI has loaded, for all MODELs of the network (`SharedNetworks.loaded`).
"""
