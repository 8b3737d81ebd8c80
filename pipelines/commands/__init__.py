"""The commands of ``tolmach``, one module each; :mod:`pipelines.cli` imports only the chosen one."""
