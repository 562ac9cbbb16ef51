package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// Post publishes a text by POST, and returns the answer, which must be 201.
func Post(ctx context.Context, url string, text []byte) (answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("publishing: %s", resp.Status)
	}
	return answer, err
}
