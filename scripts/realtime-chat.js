// Defines <realtime-chat>, a live chat in one room:
//
//	<script type="module" src="/rt/-/realtime-chat.js"></script>
//	<realtime-chat room="lobby"></realtime-chat>

import { RealtimeChat } from './realtime-chat-element.js';

export * from './realtime.js';
export { RealtimeChat };

RealtimeChat.define();
