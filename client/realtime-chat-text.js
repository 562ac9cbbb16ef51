// What <realtime-chat> says, and what it makes of what others say. Nothing here needs a page.

/** The names of the texts, in their order below: an attribute `text-send` replaces one. */
export const KEYS = 'title input send name here typing connecting retry discard new empty gap guest'.split(' ');
/** @type {Record<string, string>} */
export const TEXTS = {
  en: 'Chat|Message|Send|Your name|# here|# is typing…|Connecting…|Retry|Discard|New messages|Say hello!|Messages are missing|Guest',
  de: 'Chat|Nachricht|Senden|Dein Name|# hier|# schreibt…|Verbinde…|Wiederholen|Verwerfen|Neue Nachrichten|Sag hallo!|Nachrichten fehlen|Gast',
  es: 'Chat|Mensaje|Enviar|Tu nombre|# aquí|# escribe…|Conectando…|Reintentar|Descartar|Mensajes nuevos|¡Saluda!|Faltan mensajes|Invitado',
  zh: '聊天|消息|发送|你的名字|#人在线|#正在输入…|正在连接…|重试|放弃|新消息|打个招呼吧！|部分消息缺失|访客',
  ar: 'دردشة|رسالة|إرسال|اسمك|المتصلون: #|# يكتب…|جارٍ الاتصال…|إعادة المحاولة|تجاهل|رسائل جديدة|ابدأ بالتحية!|رسائل مفقودة|ضيف',
};

/** A web or mail address, without what only ends the sentence around it. What controls directions ends it, too. */
const ADDRESS = /\b((?:https?:\/\/|mailto:)[\p{L}\d](?:\([^\s<>"()\p{Bidi_C}]*\)|[^\s<>"()\p{Bidi_C}])*(?<=\P{P}|[/)_#&-]))/iu;

/**
 * Splits a text where it holds addresses: every second part is one, the others are text.
 * @param {string} text
 */
export const splitLinks = (text) => text.split(ADDRESS);

/**
 * A name fit to stand in a line of other text: at most 40 characters, as a reader counts them, and none that controls lines or
 * directions.
 * @param {unknown} name
 */
export const cleanName = (name) =>
  [...new Intl.Segmenter().segment(String(name ?? '').replace(/[\p{Cc}\p{Bidi_C}\p{Zl}\p{Zp}]+/gu, ' ').trim().slice(0, 999))]
    .slice(0, 40)
    .map((it) => it.segment)
    .join('');

/**
 * Who says what. The data may have the shape that <realtime-chat> itself publishes, or be whatever anybody published.
 * @param {any} message
 */
export const readMessage = ({ data, from }) => {
  const text = data?.text ?? data;
  return { text_: typeof text == 'string' ? text : JSON.stringify(text), name_: cleanName(from?.name ?? data?.name) };
};

/**
 * The room of a page: its path as it stands in the address, without a final `index.html`, without the extension, and the last 199
 * characters of it; `index` for the site's root.
 * @param {string} path
 */
export const roomOf = (path) => (/[^-/].{0,198}?(?=\/?(index)?(\.\w+)?$)/.exec(path) ?? ['index'])[0];
