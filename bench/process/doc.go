// Package process runs servers as child processes and asks the kernel what they
// cost. Only Linux has it.
package process
