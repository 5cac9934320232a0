"""The only code that knows ComfyUI's internals: experts as MODELs, the guider over MODELs, prompt checks."""
