"""How addresses, telephone numbers and stock text look in captions, as regular expressions.

Each NAME_HINT is for Arrow, whose expressions take linear time: it matches in every caption that
NAME matches in, and in few others. NAME is for Python, whose expressions can look around a match.
"""

import re

# An e-mail address comes first, so that its domain is not taken for a bare domain too. Every
# run of characters is possessive and starts where none goes before, so no start is tried twice.
# `logo@2x.png` is a file. A bare domain ends in a common suffix that is no word of its own
# (`.com`, not `.it`), or a path follows it.
LINKS_HINT = r"@|(?i:https?://|www\.)|\.[a-z]{2}"
_SUFFIXES = (
    "com|net|org|edu|gov|info|biz|io|co|dev|app|shop|store|online|site|blog|tv|eu|uk|de|fr|nl|pl|"
    "cz|ch|ru|ua|cn|jp|kr|tw|hk|br|mx|au|ca|nz|se|dk|fi|pt|gr|tr|ir"
)
LINKS = re.compile(
    r"(?P<email>(?<![\w.%+-])[\w.%+-]{1,64}+@(?![1-9]x\.)(?:[\w-]{1,63}+\.(?=\w))++[^\W\d_]{2,24})"
    r"|(?P<url>(?:(?i:https?://)|(?<![A-Za-z0-9._-])(?i:www\.)(?=\w))[\w!-;=?-~]*+"
    r"|(?<![\w.@-])(?:[\w-]{1,63}+\.(?=\w))++"
    rf"(?:(?:{_SUFFIXES})(?![A-Za-z0-9_-])|[a-z]{{2,6}}+(?=/[\w~?%])))"
)

_PHRASES = """
click here|click to enlarge|click image|click for details|read more|view larger|view full size
buy now|shop now|order now|add to cart|free shipping|for sale|for rent|best price|free download
all rights reserved|copyright|terms of use|privacy policy|sign up now|log in to view
stock photo|stock photos|stock photography|stock image|stock images|stock vector|stock picture
stock illustration|royalty free|getty images|shutterstock|istock|istockphoto|alamy|dreamstime
depositphotos|123rf|adobe stock|image not available|image not found|image unavailable|no image
no photo|image coming soon|photo coming soon|photo not available|picture not available
image is loading|image may contain|image description|alt text|placeholder|lorem ipsum
hier klicken|zu verkaufen|zu vermieten|jetzt kaufen|mehr lesen|alle rechte vorbehalten
kein bild|bild nicht verfügbar|kostenloser versand|stockfoto|lizenzfrei
cliquez ici|à vendre|à louer|tous droits réservés|lire la suite|livraison gratuite
image non disponible|photo non disponible|libre de droits|foto stock|foto de stock
haga clic aquí|clic aquí|se vende|en venta|todos los derechos reservados|envío gratis
imagen no disponible|clique aqui|à venda|todos os direitos reservados|imagem não disponível
нажмите здесь|все права защищены|купить|продажа|нет фото|стоковое фото
""".strip()
_UNSPACED_PHRASES = (
    "点击查看|点击这里|点击此处|点此|版权所有|图片仅供参考|暂无图片|图片加载中|包邮|立即购买|"
    "查看更多|阅读全文|素材下载|免费下载|クリック|無断転載|画像なし|送料無料|フリー素材"
)
_FILE_ENDINGS = "jpe?g|png|gif|bmp|tiff?|webp|heic|psd|svg|eps|cr2|nef"
_CAMERAS = "img|dscn?|dscf|pict|cimg|imgp|mvi|pxl|gopr|dji|sam_|wp_|_mg|screenshot|image"
_SPACED = _PHRASES.replace("\n", "|")
_LOOSE = _SPACED.replace(" ", r"[\s-]{1,3}")
BOILERPLATE_HINT = (
    f"(?is){_SPACED.replace(' ', '.{1,3}')}|{_UNSPACED_PHRASES}"
    rf"|\.(?:{_FILE_ENDINGS})|(?:{_CAMERAS}|p)[_-]?[0-9]{{3}}"
)
# A camera's name before a file ending is one find, not two.
BOILERPLATE = re.compile(
    rf"(?<!\w)(?:{_LOOSE})(?!\w)|{_UNSPACED_PHRASES}"
    rf"|\.(?:{_FILE_ENDINGS})(?!\w)"
    rf"|(?<![^\W_])(?:(?:{_CAMERAS})[_-]?[0-9]{{3,}}+|p[0-9]{{7}}(?![0-9]))"
    rf"(?!\.(?:{_FILE_ENDINGS})(?!\w))",
    re.IGNORECASE,
)
_WHOLE_CAPTIONS = (
    "image|img|picture|photo|photograph|untitled|null|none|nil|nan|n/a|undefined|unknown|title|"
    "caption|thumbnail|thumb|logo|icon|banner|alt|default|test|bild|ohne titel|sans titre|imagen|"
    "foto|sin título|sem título|изображение|фото|без названия|图片|照片|无标题|画像|写真|無題"
)
PLACEHOLDERS = frozenset(_WHOLE_CAPTIONS.split("|"))

# Seven or more ASCII digits, with at most two other characters between one and the next.
PHONES_HINT = r"(?s)[0-9](?:.{0,2}[0-9]){6}"
PHONES = re.compile(
    r"""
    (?<![A-Za-z0-9_+])\+[1-9](?:[ .\-/()\xa0]{0,2}[0-9]){6,14}(?![A-Za-z0-9_]|[ ]?[€$£¥%])
    | (?<![A-Za-z0-9_+\#$€£¥]) (?<![0-9][ .,:/-]) (?<!\#[ ])
    (?! [0-9]{1,2}[./ -][0-9]{1,2}[./ -](?:19|20)[0-9]{2}(?![0-9])         # a date, day first
      | (?:19|20)[0-9]{2}[./ -][0-9]{1,2}[./ -][0-9]{1,2}(?![0-9]) )       # a date, year first
    (?: 00[1-9][0-9]{0,2}[ ./-](?:[ .\-/()\xa0]{0,2}[0-9]){6,12}(?![0-9])  # international
      | (?:1[ .-])?[2-9][0-9]{2}(?P<a>[ .-])[2-9][0-9]{2}(?P=a)[0-9]{4}    # North America
      | (?:1[ .-])?\([2-9][0-9]{2}\)[ .-]?[2-9][0-9]{2}[ .-]?[0-9]{4}
      | 1[3-9][0-9](?P<b>[ -])[0-9]{4}(?P=b)[0-9]{4}                       # Chinese mobile
      | (?= \(?0(?:[^0-9]{0,2}[0-9]){8,10}(?![ ./-]?[0-9]) )               # trunk zero, 9 to 11
        (?: \(0[1-9][0-9]{0,4}\)[ ]? | 0[1-9][0-9]{0,4}[ ./-] )
        [0-9]{2,8}+(?:[ .-][0-9]{2,8}+){0,3}+
    )
    (?! [A-Za-z0-9_] | [.,:/-][0-9] | [ ]?[€$£¥%] )
    | (?: (?<![^\W_])(?i:call|dial|tele?(?:phone|fon)?|tél(?:éphone)?|fax|whatsapp|hotline)
          (?:[ ](?i:us|now|at|no|number|today)){0,3}
        | (?i:phone|mobile|cell|handy|mobil)[ ]?[:.\#]
        | 电话|電話|手机|微信|热线|传真 )
      [\s.:：\#]{0,4}
      (?! [0-9]{1,2}[./-][0-9]{1,2}[./-](?:19|20)[0-9]{2} | (?:19|20)[0-9]{2}[/-](?:19|20)[0-9]{2} )
      [+(]?[0-9](?:[ .\-/()\xa0]{0,2}[0-9]){6,14}(?![0-9])
    """,
    re.VERBOSE,
)
