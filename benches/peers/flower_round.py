"""Rounds of Flower without training, by one of its two engines.

    python flower_round.py --engine simulation --nodes 10 --parameters 100 --rounds 30

`simulation` is what its users run on one machine: clients in the workers of Ray. `grpc` is a server and a process for each
client, over gRPC on loopback (in `flwr.compat` by now; its successor has clients ask for work every few seconds). One vector
goes to every client, comes back as it is, and is averaged by FedAvg; nothing is evaluated. Prints one JSON object: seconds from
the beginning to the first round's end, and of each further round milliseconds and processor milliseconds of all processes.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import time
import warnings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

BEGAN = time.perf_counter()

import flwr
import numpy as np

from process_time import adopt, mark, tell


def same():
    """A client that gives back what it gets."""
    from flwr.compat.client.numpy_client import NumPyClient

    class Same(NumPyClient):
        def fit(self, parameters, config):
            return parameters, 1, {}

    return Same().to_client()


def timed(nodes, parameters, marks):
    """FedAvg that notes when each round is merged, and the processor time until then."""

    class Timed(flwr.server.strategy.FedAvg):
        def aggregate_fit(self, *arguments):
            merged = super().aggregate_fit(*arguments)
            marks.append(mark())
            return merged

    first = flwr.common.ndarrays_to_parameters([np.zeros(parameters, np.float32)])
    return Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=nodes,
        min_available_clients=nodes,
        initial_parameters=first,
    )


def by_grpc(a, config, strategy):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--client", address]
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(a.nodes)]
    try:
        flwr.server.start_server(server_address=address, config=config, strategy=strategy)
    finally:
        for process in clients:
            process.terminate()
            process.wait()


def by_simulation(a, config, strategy):
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    components = flwr.server.ServerAppComponents(config=config, strategy=strategy)
    run_simulation(
        server_app=ServerApp(server_fn=lambda context: components),
        client_app=ClientApp(client_fn=lambda context: same()),
        num_supernodes=a.nodes,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="simulation", choices=["grpc", "simulation"])
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--parameters", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--client", help="the server's address; this process is a client then")
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    if a.client:
        from flwr.compat.client.app import start_client

        return start_client(server_address=a.client, client=same(), insecure=True)
    adopt()
    marks = []
    config = flwr.server.ServerConfig(num_rounds=a.rounds + 1)
    {"grpc": by_grpc, "simulation": by_simulation}[a.engine](a, config, timed(a.nodes, a.parameters, marks))
    tell(BEGAN, marks)


main()
