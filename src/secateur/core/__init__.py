"""What every room may use: errors, types, settings, the registry, paths, modules, text, linear algebra, the machine."""
