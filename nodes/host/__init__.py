"""The only code that knows ComfyUI's internals: pixel experts as MODELs, the guider over MODELs, prompt checks."""
