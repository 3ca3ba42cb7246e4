"""What every room uses: imports, files, arguments, arrays."""
