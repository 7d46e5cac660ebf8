#!/usr/bin/python3
"""Checks an OpenAPI 3.1.0 document, and answers against it.

    openapi.py document FILE           the document itself: every object has the
                                       members that the specification gives it, every
                                       schema is one of JSON Schema 2020-12
    openapi.py answers FILE ANSWERS    ANSWERS has a line of JSON for each answer:
                                       {"method", "path", "status", "type", "body"}

Prints what is wrong, at most 20 lines, and ends with 1 then.
"""
import json
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker

# OpenAPI 3.1.0 section 4.8: members, those that must be there first
OBJECTS = {
    "openapi": (["openapi", "info"], ["jsonSchemaDialect", "servers", "paths", "webhooks",
                                      "components", "security", "tags", "externalDocs"]),
    "info": (["title", "version"], ["summary", "description", "termsOfService", "contact", "license"]),
    "server": (["url"], ["description", "variables"]),
    "components": ([], ["schemas", "responses", "parameters", "examples", "requestBodies", "headers",
                        "securitySchemes", "links", "callbacks", "pathItems"]),
    "path item": ([], ["$ref", "summary", "description", "get", "put", "post", "delete", "options", "head",
                       "patch", "trace", "servers", "parameters"]),
    "operation": (["responses"], ["tags", "summary", "description", "externalDocs", "operationId", "parameters",
                                  "requestBody", "callbacks", "deprecated", "security", "servers"]),
    "parameter": (["name", "in", "schema"], ["description", "required", "deprecated", "allowEmptyValue", "style",
                                             "explode", "allowReserved", "example", "examples"]),
    "request body": (["content"], ["description", "required"]),
    "media type": ([], ["schema", "example", "examples", "encoding"]),
    "response": (["description"], ["headers", "content", "links"]),
}
METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]


class Document:
    def __init__(self, file):
        with open(file, encoding="utf-8") as stream:
            self.tree = json.load(stream)
        self.faults = []
        self.validators = {}

    def fault(self, where, text):
        self.faults.append(f"{where}: {text}")

    def members(self, kind, where, thing):
        must, may = OBJECTS[kind]
        if not isinstance(thing, dict):
            self.fault(where, f"is no {kind} object")
            return False
        for name in must:
            if name not in thing:
                self.fault(where, f"a {kind} object has {name}")
        for name, value in thing.items():
            if name not in must + may and not name.startswith("x-"):
                self.fault(where, f"a {kind} object has no {name}")
            if value is None:
                self.fault(where, f"{name} is null")
        return True

    def target(self, reference):
        node = self.tree
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node

    def references(self, where, node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                try:
                    self.target(node["$ref"])
                except (KeyError, TypeError):
                    self.fault(where, f"{node['$ref']} leads nowhere")
            for name, value in node.items():
                self.references(f"{where}/{name}", value)
        elif isinstance(node, list):
            for value in node:
                self.references(where, value)

    def schema(self, where, schema):
        for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            self.fault(where, error.message[:200])

    def content(self, where, content):
        if not content:
            self.fault(where, "content names no media type")
        for media, value in content.items():
            if not re.fullmatch(r"[a-z*]+/[A-Za-z0-9.+*-]+", media):
                self.fault(where, f"{media} is no media type")
            if self.members("media type", f"{where} {media}", value):
                self.schema(f"{where} {media}", value.get("schema", True))

    def response(self, where, response):
        if "$ref" in response:
            return
        self.members("response", where, response)
        if "content" in response:
            self.content(where, response["content"])

    def operation(self, where, path, op):
        if not self.members("operation", where, op):
            return
        seen = set()
        for p in op.get("parameters", []):
            if not self.members("parameter", f"{where} parameter", p):
                continue
            if p["in"] not in ("query", "header", "path", "cookie"):
                self.fault(where, f"parameter {p['name']} is in {p['in']}")
            if p["in"] == "path" and not (p.get("required") is True and "{%s}" % p["name"] in path):
                self.fault(where, f"path parameter {p['name']}")
            if (p["name"], p["in"]) in seen:
                self.fault(where, f"parameter {p['name']} is there twice")
            seen.add((p["name"], p["in"]))
            self.schema(f"{where} {p['name']}", p["schema"])
        for name in re.findall(r"\{(\w+)\}", path):
            if (name, "path") not in seen:
                self.fault(where, f"{{{name}}} has no parameter")
        if "requestBody" in op and self.members("request body", f"{where} body", op["requestBody"]):
            self.content(f"{where} body", op["requestBody"]["content"])
        if not op.get("responses"):
            self.fault(where, "no response")
        for code, response in op.get("responses", {}).items():
            if not re.fullmatch(r"[1-5](XX|\d\d)|default", code):
                self.fault(where, f"{code} is no status")
            self.response(f"{where} {code}", response)

    def check(self):
        self.members("openapi", "", self.tree)
        if not re.fullmatch(r"3\.1\.\d+", self.tree.get("openapi", "")):
            self.fault("openapi", "is 3.1.x")
        self.members("info", "info", self.tree["info"])
        for server in self.tree.get("servers", [{}]):
            self.members("server", "servers", server)
        self.members("components", "components", self.tree["components"])
        for name, schema in self.tree["components"].get("schemas", {}).items():
            if not re.fullmatch(r"[a-zA-Z0-9._-]+", name):
                self.fault("schemas", name)
            self.schema(f"schema {name}", schema)
        for name, response in self.tree["components"].get("responses", {}).items():
            self.response(f"response {name}", response)
        ids = set()
        for path, item in self.tree["paths"].items():
            if not path.startswith("/"):
                self.fault(path, "begins with /")
            self.members("path item", path, item)
            for method in METHODS:
                if method in item:
                    self.operation(f"{method} {path}", path, item[method])
                    if item[method].get("operationId") in ids:
                        self.fault(f"{method} {path}", "operationId is there twice")
                    ids.add(item[method].get("operationId"))
        self.references("", self.tree)

    def paths(self):
        """Patterns of paths, those with the fewest parameters first."""
        rows = []
        for path, item in self.tree["paths"].items():
            regex = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
            rows.append((path.count("{"), re.compile(regex), path, item))
        return sorted(rows, key=lambda row: row[0])

    def validator(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            whole = dict(schema)
            whole["components"] = self.tree["components"]
            self.validators[key] = Draft202012Validator(whole, format_checker=FormatChecker())
        return self.validators[key]

    def answer(self, rows, one):
        path = one["path"].split("?")[0]
        where = f"{one['method']} {path} {one['status']}"
        method = "get" if one["method"] == "HEAD" else one["method"].lower()
        for _, regex, _, item in rows:
            if regex.fullmatch(path) and method in item:
                op = item[method]
                break
        else:
            # what no route answers is refused alike
            if one["status"] not in (400, 401, 403, 404, 405, 413, 429, 503):
                self.fault(where, "no operation")
            return
        status = str(one["status"])
        if status == "304":
            return
        if status not in op["responses"]:
            self.fault(where, "the status is not described")
            return
        response = op["responses"][status]
        response = self.target(response["$ref"]) if "$ref" in response else response
        media = one["type"].split(";")[0]
        # libevent answers a body beyond all limits by itself
        if status == "413" and media == "text/html":
            return
        if one["method"] == "HEAD" or (status == "204" and not media):
            return
        if media not in response.get("content", {}):
            self.fault(where, f"answered as {media or 'nothing'}")
            return
        if media.endswith("json") and one["body"] is not None:
            for error in self.validator(response["content"][media]["schema"]).iter_errors(one["body"]):
                # a list that was asked for some fields has only these
                if error.validator == "required" and "fields=" in one["path"]:
                    continue
                self.fault(where, f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")


def main():
    document = Document(sys.argv[2])
    if sys.argv[1] == "document":
        document.check()
    else:
        rows, count = document.paths(), 0
        with open(sys.argv[3], encoding="utf-8") as stream:
            for line in stream:
                document.answer(rows, json.loads(line))
                count += 1
        print(f"{count} answers")
    faults = list(dict.fromkeys(document.faults))
    print("\n".join(faults[:20]))
    sys.exit(1 if faults else 0)


main()
