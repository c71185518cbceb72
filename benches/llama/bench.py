"""How fast llama.cpp reads a prompt and goes on from it; prints JSON. `compare.py` calls it."""

import argparse
import ctypes
import json
import statistics
import time

import llama_cpp as llama
import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("-p", "--prompt", type=int, default=128)
    parser.add_argument("-n", "--generate", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(
        args.model.encode(), llama.llama_model_default_params()
    )
    assert model, f"cannot load {args.model}"
    params = llama.llama_context_default_params()
    params.n_ctx = args.prompt + args.generate
    params.n_batch = params.n_ubatch = max(args.prompt, 32)
    params.n_threads = params.n_threads_batch = args.threads
    context = llama.llama_init_from_model(model, params)
    assert context, "no context"
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def decode(tokens):
        """The most probable token after `tokens`."""
        array = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) == 0
        logits = llama.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (vocabulary,)).argmax())

    prompts, generations = [], []
    # The first round warms up.
    for _ in range(args.rounds + 1):
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        start = time.perf_counter()
        token = decode([i * 7919 % vocabulary for i in range(args.prompt)])
        prompts.append(args.prompt / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(args.generate):
            token = decode([token])
        generations.append(args.generate / (time.perf_counter() - start))
    print(
        json.dumps(
            {
                "prompt_tokens_per_second": statistics.median(prompts[1:]),
                "generated_tokens_per_second": statistics.median(generations[1:]),
            }
        )
    )


if __name__ == "__main__":
    main()
