"""The commands of ``tolmach``, one module each; :mod:`tolmach.pipelines.cli.main` imports only the chosen one."""
