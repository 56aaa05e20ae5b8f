"""moto's server with an atomic put if absent.

moto's put first looks for the object and stores it later, on a thread for each request: of several requests
that put one key if it is absent, two may find nothing. S3 and MinIO have one winner, and so has this server.
"""

import threading

from moto.s3.responses import S3Response
from moto.server import main

one_at_a_time = threading.Lock()
bare = S3Response.put_object


def put_object(response):
    with one_at_a_time:
        return bare(response)


S3Response.put_object = put_object
main()
