"""How versions travel: directories, registries, web servers. Only this floor speaks HTTP."""
