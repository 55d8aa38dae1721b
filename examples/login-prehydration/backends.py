"""Six backends, each on a port of its own. Five want the user's session; one is slow, one fails, one never answers. The
sixth has what is not one user's own: an organisation's hierarchy.
"""

import os
import threading
import time
from collections import Counter

from web import Call, Refused, serve

SECONDS = {"profile": 0.05, "orders": 0.2, "recommendations": 0.8, "offers": 0.1, "messages": 600.0, "hierarchy": 0.1}
CONTENT = {
    "profile": {"name": "Ann Rolle", "language": "en", "organisation": {"id": "north"}},
    "orders": {"open": [{"number": 7, "total": 1250}]},
    "recommendations": {"items": ["lamp", "kettle", "rug"]},
    "messages": {},
    "hierarchy": {"head": "Eva Lind", "teams": ["sales", "support"]},
}

calls: Counter[str] = Counter()
waiting: Counter[str] = Counter()


def backend(name: str):
    def answer(call: Call) -> object:
        if call.path == "/calls":
            return {"calls": calls[name], "waiting": waiting[name]}
        whose = call.path.rpartition("/")[2]
        if name != "hierarchy" and call.user() != whose:
            raise Refused(403)
        calls[name] += 1
        waiting[name] += 1
        time.sleep(SECONDS[name])
        waiting[name] -= 1
        if name == "offers":
            raise Refused(500)
        return {"id": whose, **CONTENT[name]}

    return answer


for name in SECONDS:
    server = serve(int(os.environ[f"{name.upper()}_PORT"]), backend(name))
    threading.Thread(target=server.serve_forever).start()
