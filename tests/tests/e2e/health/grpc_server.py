"""A gRPC server that has the health service, and is not serving while a file is there.

usage: grpc_server.py PORT FILE CERTIFICATE KEY

It listens on PORT, and with TLS on the next one. (It must not be called grpc_health: gRPC loads a module of that name.)
"""

import concurrent.futures
import os
import sys

import grpc

# The messages of grpc.health.v1, which are too short to need a compiler: field 1 is the service's name, or the status.
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
KNOWN = (b"", b"\x0a\x03www")

port, sick, certificate, key = int(sys.argv[1]), *sys.argv[2:]


def check(request, context):
    if request not in KNOWN:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return NOT_SERVING if os.path.exists(sick) else SERVING


def read(path):
    with open(path, "rb") as file:
        return file.read()


methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[health])
server.add_insecure_port(f"0.0.0.0:{port}")
tls = grpc.ssl_server_credentials([(read(key), read(certificate))])
server.add_secure_port(f"0.0.0.0:{port + 1}", tls)
server.start()
server.wait_for_termination()
