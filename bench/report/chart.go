package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Chart is a picture of lines: numbers against numbers, the lower axis in powers
// of ten.
type Chart struct {
	File  string // its name
	Title string
	X, Y  string // what the axes say
	Lines []Line
}

// Line is one line of a chart.
type Line struct {
	Name   string
	Points [][2]float64 // x and y, by x
}

// Sizes of a chart in pixels.
const (
	chartWidth, chartHeight                 = 720, 400
	leftEdge, rightEdge, topEdge, belowEdge = 64, 160, 44, 52
)

// colors can be distinguished on white and on black, also by most people with a color
// vision deficiency.
var colors = []string{"#0a7bd6", "#d1571b", "#2a9d5c", "#a15bd0", "#c2920a", "#d23f6f", "#6b7a8a"}

// chartStyle lets a picture follow the page's scheme.
const chartStyle = `text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}` +
	`.grid{stroke:#8884;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}.line{fill:none;stroke-width:2}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#9aa4ae}}`

// SVG returns the picture.
func (c Chart) SVG() string {
	low, high, top := c.bounds()
	x := func(v float64) float64 {
		part := 0.5
		if high > low {
			part = math.Log(v/low) / math.Log(high/low)
		}
		return leftEdge + part*(chartWidth-leftEdge-rightEdge)
	}
	y := func(v float64) float64 {
		return chartHeight - belowEdge - v/top*(chartHeight-topEdge-belowEdge)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+"\n",
		chartWidth, chartHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(c.Title), chartStyle)
	text := func(class, anchor string, x, y float64, s string) {
		fmt.Fprintf(&b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, html.EscapeString(s))
	}
	text("title", "start", leftEdge, 22, c.Title)
	for v := 0.0; v <= top*1.001; v += top / 5 {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/>`+"\n", leftEdge, y(v), chartWidth-rightEdge)
		text("", "end", leftEdge-8, y(v)+4, number(v))
	}
	for _, v := range c.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/>`+"\n", x(v), topEdge, chartHeight-belowEdge)
		text("", "middle", x(v), chartHeight-belowEdge+18, number(v))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %dV%dH%d" fill="none"/>`+"\n",
		leftEdge, topEdge, chartHeight-belowEdge, chartWidth-rightEdge)
	text("", "middle", leftEdge+(chartWidth-leftEdge-rightEdge)/2, chartHeight-12, c.X)
	fmt.Fprintf(&b, `<text text-anchor="middle" transform="translate(16 %d)rotate(-90)">%s</text>`+"\n",
		(topEdge+chartHeight-belowEdge)/2, html.EscapeString(c.Y))
	for i, l := range c.Lines {
		color := colors[i%len(colors)]
		var path strings.Builder
		for j, p := range l.Points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x(p[0]), y(p[1]))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x(p[0]), y(p[1]), color)
		}
		fmt.Fprintf(&b, `<path class="line" stroke="%s" d="%s"/>`+"\n", color, path.String())
		at := float64(topEdge + 12 + 22*i)
		fmt.Fprintf(&b, `<path class="line" stroke="%s" d="M%d %.1fh20"/>`+"\n", color, chartWidth-rightEdge+14, at-4)
		text("", "start", chartWidth-rightEdge+40, at, l.Name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// bounds returns the ends of the lower axis, and the top of the other.
func (c Chart) bounds() (low, high, top float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, p := range l.Points {
			low, high, top = min(low, p[0]), max(high, p[0]), max(top, p[1])
		}
	}
	if top <= 0 {
		return 1, 10, 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*step >= top {
			return low, high, m * step
		}
	}
	return low, high, top
}

// ticks returns the places on the lower axis that were measured.
func (c Chart) ticks() []float64 {
	var ticks []float64
	seen := map[float64]bool{}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if !seen[p[0]] {
				seen[p[0]] = true
				ticks = append(ticks, p[0])
			}
		}
	}
	return ticks
}

func number(v float64) string {
	if v >= 1000 && v == math.Trunc(v) {
		s := strconv.Itoa(int(v))
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}
