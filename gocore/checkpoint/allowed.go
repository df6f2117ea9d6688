package checkpoint

import "strings"

// allowedModules are those whose names stand for data in checkpoints of
// Lightning and of the reference; allowedNames are single names of others.
var (
	allowedModules = []string{
		"omegaconf", "lightning", "lightning_fabric", "pytorch_lightning", "lightning_utilities",
		"state.emb", "vci", "collections", "typing", "enum", "datetime", "pathlib",
		"torch.optim", "torch.utils.data", "torch.nn", "torch.storage", "numpy.dtypes",
	}
	allowedNames = map[string]bool{
		"torch._utils._rebuild_tensor_v2": true, "torch._utils._rebuild_tensor": true,
		"torch._utils._rebuild_parameter": true, "torch._utils._rebuild_parameter_with_state": true,
		"torch._tensor._rebuild_from_type_v2": true, "torch.Size": true, "torch.device": true, "torch.Tensor": true,
		"torch.serialization._get_layout": true, "torch.bfloat16": true, "torch.float16": true, "torch.float32": true,
		"torch.float64": true, "torch.int64": true, "torch.int32": true, "torch.bool": true,
		"numpy.dtype": true, "numpy.ndarray": true, "numpy.core.multiarray._reconstruct": true,
		"numpy._core.multiarray._reconstruct": true, "numpy.core.multiarray.scalar": true,
		"numpy._core.multiarray.scalar": true, "_codecs.encode": true, "copyreg._reconstructor": true,
		"copy_reg._reconstructor": true, "functools.partial": true, "argparse.Namespace": true,
		"types.SimpleNamespace": true,
	}
	allowedBuiltins = map[string]bool{
		"set": true, "frozenset": true, "dict": true, "list": true, "tuple": true, "int": true, "float": true,
		"str": true, "bool": true, "bytes": true, "bytearray": true, "complex": true, "slice": true,
		"range": true, "object": true,
		// What protocol 2 calls int, str and range: the names that Python 2 knew.
		"long": true, "unicode": true, "xrange": true,
	}
)

// allowed tells whether a checkpoint may name this. What is named is never called.
func allowed(module, name string) bool {
	if len(module) > maxName || len(name) > maxName {
		return false
	}
	if strings.Contains(name, ".") { // attributes of classes are never data
		return false
	}
	if module == "builtins" || module == "__builtin__" {
		return allowedBuiltins[name]
	}
	if allowedNames[module+"."+name] {
		return true
	}
	if module == "torch" {
		return torchStorages[name].Size > 0
	}
	for _, prefix := range allowedModules {
		if module == prefix || strings.HasPrefix(module, prefix+".") {
			return true
		}
	}
	return false
}
