"""`python -m keras_c2kd.comparison`: methods compared on a table of files."""

from keras_c2kd.comparison.file_table import main

if __name__ == "__main__":
    main()
