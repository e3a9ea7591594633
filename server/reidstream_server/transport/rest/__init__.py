"""POST /embed: pictures in, vectors out, for whoever has an HTTP client and nothing else.

embed       the call: a picture, several pictures, or a frame with its boxes
form        a form's files and fields, within bounds
multipart   multipart/form-data, cut into its parts as it comes
options     what the query and the form's fields ask for
boxes       boxes in JSON
rendering   the answer: JSON, npy, or the bytes of the vectors
openapi     the description for programs
page        the description for people, with a form to try it
routes      all of it, as the HTTP port takes it
"""
