"""Parquet files as other programs write them: compressions, versions of pages, encodings.

Regenerate with

    pip install pyarrow==26.0.1 && python bitnet/tests/golden/parquet/generate.py

Each holds the same 300 texts in the column `text`, with a null after the first hundred, and again
in `meta.text`. They repeat often enough that a dictionary, a prefix or a compression is of use.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
texts = [f"text {n % 50} of a file, señor" for n in range(300)]
texts.insert(100, None)
table = pa.table({"text": texts, "meta": [{"text": text, "n": n} for n, text in enumerate(texts)]})


def write(name, **options):
    pq.write_table(table, HERE / f"{name}.parquet", store_schema=False, **options)


def encoded(encoding):
    return {"use_dictionary": False, "column_encoding": {"text": encoding, "meta.text": encoding}}


write("brotli", compression="brotli")
write("lz4", compression="lz4")
write("zstd-v2", compression="zstd", data_page_version="2.0")
write("snappy-pages", compression="snappy", data_page_size=500, row_group_size=90)
write("gzip-lengths", compression="gzip", **encoded("DELTA_LENGTH_BYTE_ARRAY"))
write("brotli-prefixes-v2", compression="brotli", data_page_version="2.0", **encoded("DELTA_BYTE_ARRAY"))
write("lz4-plain", compression="lz4", **encoded("PLAIN"))
