// The texts of <realtime-chat>, and how it reads the texts of others. Nothing here needs a page.

/** The names of the texts, in their order below: an attribute `text-send` replaces one. */
export const KEYS = 'title input send name here typing connecting retry discard new empty gap guest large refused failed sign-in read-only'.split(' ');
/** @type {Record<string, string>} */
export const TEXTS = {
  en: 'Chat|Message|Send|Your name|# here|# is typing…|Connecting…|Retry|Discard|New messages|Say hello!|Messages are missing|Guest|Too long|No access|Not sent|Sign in to write|You can only read here',
  de: 'Chat|Nachricht|Senden|Dein Name|# hier|# schreibt…|Verbinde…|Wiederholen|Verwerfen|Neue Nachrichten|Sag hallo!|Nachrichten fehlen|Gast|Zu lang|Kein Zugang|Nicht gesendet|Zum Schreiben anmelden|Hier kannst du nur lesen',
  es: 'Chat|Mensaje|Enviar|Tu nombre|# aquí|# escribe…|Conectando…|Reintentar|Descartar|Mensajes nuevos|¡Saluda!|Faltan mensajes|Invitado|Demasiado largo|Sin acceso|No enviado|Inicia sesión para escribir|Aquí solo puedes leer',
  zh: '聊天|消息|发送|你的名字|#人在线|#正在输入…|正在连接…|重试|放弃|新消息|打个招呼吧！|部分消息缺失|访客|太长了|没有权限|未发送|登录后即可发言|此处仅可阅读',
  ar: 'دردشة|رسالة|إرسال|اسمك|المتصلون: #|# يكتب…|جارٍ الاتصال…|إعادة المحاولة|تجاهل|رسائل جديدة|ابدأ بالتحية!|رسائل مفقودة|ضيف|طويلة جدًا|لا إذن لك|لم تُرسل|سجّل الدخول للكتابة|القراءة فقط هنا',
};

/** A web or mail address, without the punctuation of the sentence around it. Direction controls end it, too. */
const ADDRESS = /\b(?:https?:\/\/|mailto:)[\p{L}\d](?:\([^\s<>"()\p{Bidi_C}]*\)|[^\s<>"()\p{Bidi_C}])*(?<=\P{P}|[/)_#&-])/giu;
const MOST_LINKS = 50;

/**
 * Splits a text at its first 50 addresses: every second part is an address, the others are text.
 * @param {string} text
 */
export const splitLinks = (text) => {
  const parts = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(ADDRESS)) {
    if (parts.push(text.slice(end, index), address) > 2 * MOST_LINKS) break;
    end = index + address.length;
  }
  return [...parts.slice(0, 2 * MOST_LINKS), text.slice(end)];
};

/** Invisible characters, except those that join emoji and those that join letters which change their shapes; and marks like that of a verified name. */
const UNFIT =
  /(?<![\p{ExtPict}\p{EMod}\ufe0f\p{M}\p{scx=Arab}])[\u200c\u200d]|[\u200c\u200d](?![\p{ExtPict}\p{L}])|(?<!\p{Emoji})\ufe0f|(?![\u200c\u200d\ufe0f])[\p{DI}\u2800]|[√☑✅✓✔🗸🗹]\ufe0f?/gu;

/**
 * Makes a name fit for a line of other text, and hard to mistake for another: at most 40 characters, as a reader counts them, no
 * control of lines or directions, no invisible character, no check mark, and at most two marks on one letter.
 * @param {unknown} name
 */
export const cleanName = (name) =>
  [...new Intl.Segmenter().segment(
    String(name ?? '').slice(0, 999).normalize().replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').replace(/\p{Bidi_C}/gu, '').replace(UNFIT, '').replace(/(\p{M}{2})\p{M}+/gu, '$1').replace(/\s+/gu, ' ').trim(),
  )]
    .slice(0, 40)
    .map((it) => it.segment)
    .join('');

/**
 * Reads the author and the text of a message. The data may be an object as <realtime-chat> publishes it, or anything else. A name
 * is sure if the server knows it: it has been verified, or it is the id of a user who has signed in or the name of a backend.
 * @param {any} message
 */
export const readMessage = ({ data, from }) => {
  const text = data?.text ?? data;
  const known = cleanName(from?.name);
  const claimed = cleanName(data?.name);
  const id = cleanName(from?.id?.replace(/^~(b|.*)/s, '')); // those of guests and links are random
  return {
    text_: typeof text == 'string' ? text : JSON.stringify(text),
    name_: known || claimed || id,
    sure_: !!(known || (!claimed && id)),
    from_: from?.id,
  };
};

/**
 * The room of a page: its path, decoded, without the characters that no room's name may have, without a final `index.html`, without
 * the extension, and no more of its end than a room's name takes (200 bytes); `index` for the site's root.
 * @param {string} path
 */
export const roomOf = (path) => {
  try {
    path = decodeURIComponent(path);
  } catch { /* used undecoded */ }
  path = path.replace(/[\p{Cc}\p{Cf}*{}]/gu, '').normalize().replace(/\/?(index)?(\.\w+)?$/, '');
  while (new Blob([path]).size > 200) path = path.replace(/^./su, '');
  const room = path.split('/').filter((segment) => !/^\.{0,2}$/.test(segment)).join('/');
  return room.replace(/^-\/?/, '') || 'index';
};
