"""The commands of ``tolmach``, one module each; :mod:`pipelines.cli.main` imports only the chosen one."""
