"""A PyTorch training loop that survives being killed: start it again and it goes on from its last save.

    varve serve &                                   # the store, on http://127.0.0.1:7411
    python3 examples/pytorch_loop.py --steps 60     # kill it at any time, run it again

It prints one line a step, `step LOSS`, the loss in hexadecimal: two runs can be compared to the last bit.
"""

import argparse
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "clients", "python"))
import varve_client

flags = argparse.ArgumentParser()
flags.add_argument("--ref", default="pytorch-loop")
flags.add_argument("--steps", type=int, default=60)
flags.add_argument("--save-every", type=int, default=5)
flags = flags.parse_args()

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(256, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
first = 0

with varve_client.connect() as store:
    try:
        state = store.load(flags.ref)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        first = state["step"]
        print("resumed at step %d" % first, file=sys.stderr)
    except varve_client.VarveError as error:
        if error.code != "ERR_NOT_FOUND":
            raise
    for step in range(first + 1, flags.steps + 1):
        x = torch.randn(32, 64)
        loss = torch.nn.functional.mse_loss(model(x), x[:, :4].sum(1, keepdim=True).sin())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, loss.item().hex(), flush=True)
        if step % flags.save_every == 0:
            everything = {
                "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "rng": torch.get_rng_state(), "step": step,
            }
            store.save(flags.ref, everything, step=step, metrics={"loss": loss.item()})
