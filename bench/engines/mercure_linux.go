package engines

import (
	"context"
	_ "embed" // for the program
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Mercure is the name of Mercure's transport on bbolt, in this version.
const Mercure = "Mercure " + mercureVersion

const mercureVersion = "v0.20.2"

//go:embed mercure/main.go
var mercureProgram []byte

// BuildMercure builds the program that measures Mercure's transport, in a Go module of its own in a folder
// of that cache, and returns the program's file.
func BuildMercure(ctx context.Context, cache string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("where is the module? Run it within: %w", err)
	}
	dir := filepath.Join(cache, "mercure")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), mercureProgram, 0o600); err != nil {
		return "", err
	}
	mod := fmt.Sprintf("module mercure\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %[1]s => %s", module, root)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"get", "github.com/dunglas/mercure@" + mercureVersion}, {"build", "-mod=mod", "-o", "mercure", "main.go"}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w: %s", args[0], err, out[max(len(out)-300, 0):])
		}
	}
	return filepath.Join(dir, "mercure"), nil
}

const module = "github.com/caddy-realtime/realtime"
