"""How well cheap tasks rank losses for an expensive one."""
