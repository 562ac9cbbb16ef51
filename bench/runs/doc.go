// Package runs measures servers in turn, and reports. Only Linux has it.
package runs
