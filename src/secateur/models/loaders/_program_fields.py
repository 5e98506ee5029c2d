"""What the JSON of a ``.pt2`` may hold: the fields of each record, the alternatives of each union, and their types.

A type is a record, a union or a plain type; ``[x]`` is a list of it, ``{x}`` a mapping of names to it, ``x?`` may be
null.
"""

from __future__ import annotations

RECORDS: dict[str, dict[str, str]] = {
    "program": {"graph_module": "module", "opset_version": "{int}", "range_constraints": "{range}",
                "schema_version": "version", "verifiers": "[verifier]", "torch_version": "text",
                "guards_code": "[size]"},
    "module": {"graph": "graph", "signature": "signature", "module_call_graph": "[call]", "metadata": "left_out",
               "treespec_namedtuple_fields": "left_out"},
    "graph": {"inputs": "[argument]", "outputs": "[argument]", "nodes": "[node]", "tensor_values": "{tensor}",
              "sym_int_values": "{symbolic}", "sym_bool_values": "{symbolic}", "sym_float_values": "{symbolic}",
              "is_single_tensor_return": "bool", "custom_obj_values": "nothing"},
    "node": {"target": "target", "inputs": "[named]", "outputs": "[argument]", "metadata": "metadata",
             "is_hop_single_tensor_return": "bool?", "name": "text?"},
    "named": {"name": "text", "arg": "argument", "kind": "int?"},
    "tensor": {"dtype": "int", "sizes": "[symbolic]", "requires_grad": "bool", "device": "device",
               "strides": "[symbolic]", "storage_offset": "symbolic", "layout": "strided"},
    "stored_tensor": {"dtype": "int", "sizes": "[number]", "requires_grad": "bool", "device": "device",
                      "strides": "[number]", "storage_offset": "number", "layout": "strided"},
    "device": {"type": "device_type", "index": "int?"},
    "expression": {"expr_str": "size", "hint": "hint?"},
    "name": {"name": "text"},
    "subgraph": {"name": "text", "graph": "graph"},
    "complex": {"real": "float", "imag": "float"},
    "signature": {"input_specs": "[input]", "output_specs": "[output]"},
    "user": {"arg": "argument"},
    "parameter": {"arg": "name", "parameter_name": "text"},
    "buffer": {"arg": "name", "buffer_name": "text", "persistent": "bool"},
    "constant": {"arg": "name", "tensor_constant_name": "text"},
    "constant_input": {"name": "text", "value": "constant_value"},
    "loss": {"arg": "name"},
    "mutated_buffer": {"arg": "name", "buffer_name": "text"},
    "mutated_input": {"arg": "name", "user_input_name": "text"},
    "call": {"fqn": "text", "signature": "call_signature?"},
    "call_signature": {"inputs": "[argument]", "outputs": "[argument]", "in_spec": "tree", "out_spec": "tree",
                       "forward_arg_names": "[text]?"},
    "range": {"min_val": "int?", "max_val": "int?"},
    "version": {"major": "int", "minor": "int"},
    "payloads": {"config": "{payload}"},
    "payload": {"path_name": "member", "is_param": "bool", "use_pickle": "unpickled", "tensor_meta": "stored_tensor"},
}
WHOLE = frozenset({"payload", "stored_tensor"})
"""Records that are used before torch reads them, and therefore must have all of their fields."""
UNIONS: dict[str, dict[str, str]] = {
    "hint": {"as_int": "int", "as_bool": "bool", "as_float": "float"},
    "symbolic": {"as_expr": "expression", "as_int": "int", "as_float": "float", "as_bool": "bool"},
    "number": {"as_int": "count"},
    "either": {"as_name": "text", "as_int": "int", "as_float": "float", "as_bool": "bool"},
    "optional": {"as_tensor": "name", "as_none": "bool"},
    "argument": {"as_none": "bool", "as_tensor": "name", "as_tensors": "[name]", "as_int": "int", "as_ints": "[int]",
                 "as_float": "float", "as_floats": "[float]", "as_string": "text", "as_strings": "[text]",
                 "as_sym_int": "either", "as_sym_ints": "[either]", "as_scalar_type": "int", "as_memory_format": "int",
                 "as_layout": "int", "as_device": "device", "as_bool": "bool", "as_bools": "[bool]",
                 "as_sym_bool": "either", "as_sym_bools": "[either]", "as_graph": "subgraph",
                 "as_optional_tensors": "[optional]", "as_sym_float": "either", "as_sym_floats": "[either]",
                 "as_optional_tensor": "optional", "as_complex": "complex", "as_nested_tensors": "[[name]]",
                 "as_int_lists": "[[int]]", "as_float_lists": "[[float]]"},
    "input": {"user_input": "user", "parameter": "parameter", "buffer": "buffer", "tensor_constant": "constant",
              "constant_input": "constant_input"},
    "output": {"user_output": "user", "loss_output": "loss", "buffer_mutation": "mutated_buffer",
               "user_input_mutation": "mutated_input", "parameter_mutation": "parameter"},
    "constant_value": {"as_none": "bool", "as_int": "int", "as_float": "float", "as_string": "text",
                       "as_bool": "bool"},
}
