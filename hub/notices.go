package hub

// The part of a session that queues what is not of a room: notices, and answers.

// Notify queues a notice, an encoded control object, for the client. A session
// that lets more than 4 KiB of them wait ends with [CauseSlow].
func (s *Session) Notify(notice []byte) {
	s.mu.Lock()
	over := s.noticeBytes+len(notice) > maxNoticeBytes
	if !over {
		s.queue(notice)
	}
	s.mu.Unlock()
	if over {
		s.End(CauseSlow)
		return
	}
	s.waker.Wake()
}

// queue queues a notice, unless the session has ended. Called with mu held.
func (s *Session) queue(notice []byte) {
	if s.cause.Load() != 0 || len(notice) == 0 {
		return
	}
	s.notices = append(s.notices, notice)
	s.noticeBytes += len(notice)
}

// Answer queues a notice that the client has asked for. While more than 64 KiB
// wait it blocks, so that a client that asks without reading must wait before its next
// question is read; the session's end ends that, too. It is for the goroutine that reads
// what the client asks.
func (s *Session) Answer(notice []byte) {
	s.mu.Lock()
	for s.noticeBytes > 0 && s.noticeBytes+len(notice) > maxAnswerBytes && s.cause.Load() == 0 {
		if s.drained == nil {
			s.drained = make(chan struct{})
		}
		drained := s.drained
		s.mu.Unlock()
		<-drained
		s.mu.Lock()
	}
	s.queue(notice)
	s.mu.Unlock()
	s.waker.Wake()
}

// release lets Answer go on. Called with mu held.
func (s *Session) release() {
	if s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}
