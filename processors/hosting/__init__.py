"""Model hosts: where inference runs, so that it never runs on an event loop.

A model loads once per process and serves every graph that asks for the same (engine, model, device)::

    lease = await HOSTS.acquire(HostKey("canary", "model.nemo", "cpu"), load)
    outcomes = await lease.submit([item, item, item])   # one batch, off the loop
    lease.release()

**Life.** A model stays loaded after its last lease is released, until the process ends or somebody calls
:meth:`HostPool.unload_idle`: the next recording, or the next caller, must not wait for it again.

**Turns.** Callers take turns on a model, a step each: a long utterance of one never holds up another for longer than
the step that is under way (the encoder's pass over one utterance, or some tokens:
:mod:`tolmach.processors.canary.model`).

**Threads.** Hosts, and :func:`off_loop`, work in daemon threads: the end of the process waits for none of them.

**Determinism.** What is in a batch changes the last digits of what comes out of it, so a batch holds exactly the items
of one request unless the caller says ``merge=True``. Headless graphs make their batches by counting utterances and
never merge; live sessions may.

**Backends.** :class:`ThreadHost` is the one there is. Items, results and :attr:`ModelHost.info` are plain values (numpy
arrays, numbers, strings), so that a host may as well live in another process or in a Ray actor.
"""

from tolmach.processors.hosting.daemon import off_loop
from tolmach.processors.hosting.host import HostKey, Model, ModelHost, Outcome
from tolmach.processors.hosting.pool import HOSTS, HostPool, Lease
from tolmach.processors.hosting.thread import ThreadHost, report

__all__ = ["HOSTS", "HostKey", "HostPool", "Lease", "Model", "ModelHost", "Outcome", "ThreadHost", "off_loop", "report"]
