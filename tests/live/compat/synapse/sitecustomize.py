"""Read by the Python of one test's Synapse when it starts.

The code of mx.client's vignette sends to the room !abc:example.org. Synapse makes up the names of
rooms; here the first one is called as there. Nothing else is changed.
"""

import importlib.abc
import importlib.util
import sys

MODULE = "synapse.handlers.room"


def name_first_room(module):
    names = iter(["!abc"])
    made_up = module.RoomCreationHandler._generate_room_id

    def generate(self):
        name = next(names, None)
        return f"{name}:{self.hs.hostname}" if name else made_up(self)

    module.RoomCreationHandler._generate_room_id = generate


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            name_first_room(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
