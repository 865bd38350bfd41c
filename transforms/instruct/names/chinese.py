"""Chinese names of COCO's 80 categories, and how many of a thing a Chinese text speaks of.

Chinese sets no spaces, so the longest name counts, and words that hold a name but mean another
thing (斑马线 is no zebra) are names of nothing. The words are our own choice.
"""

import functools
import re
from collections.abc import Iterable, Iterator

from transforms.instruct.names.mention import Mention

HAN = re.compile(r"[\u3400-\u9fff]")  # a character
# A category, then its names.
_CATEGORIES = """
person: 人 男人 女人 男子 女子 男士 女士 男孩 女孩 男孩子 女孩子 孩子 小孩 儿童 婴儿 老人 妇女
    少年 少女 青年 年轻人 成年人 行人 路人 人群 小伙子 姑娘 球员 运动员 滑雪者 冲浪者 骑手 骑车人
    击球手 投手 捕手 裁判 厨师 工人 学生 乘客 司机 情侣
bicycle: 自行车 单车 脚踏车
car: 汽车 轿车 小汽车 小轿车 出租车 车 车辆
motorcycle: 摩托车 摩托 车 车辆
airplane: 飞机 客机 战斗机
bus: 公交车 公共汽车 巴士 大巴 校车 车 车辆
train: 火车 列车 电车 地铁 高铁
truck: 卡车 货车 皮卡 皮卡车 车 车辆
boat: 船 小船 轮船 帆船 渔船 渡轮 游艇 皮划艇 独木舟
traffic light: 红绿灯 交通灯 交通信号灯
fire hydrant: 消防栓
stop sign: 停车标志 停止标志
parking meter: 停车计时器 停车收费表
bench: 长椅 长凳
bird: 鸟 小鸟 鸽子 海鸥 鸭子 鹅 天鹅 鹦鹉 猫头鹰 老鹰 乌鸦 鸵鸟 企鹅 公鸡 母鸡
cat: 猫 小猫 猫咪
dog: 狗 小狗 狗狗
horse: 马 小马 马匹 骏马
sheep: 羊 绵羊 小羊 羊羔 羊群
cow: 牛 奶牛 母牛 公牛 小牛 黄牛 水牛 牛群
elephant: 大象 小象 象群
bear: 熊 黑熊 棕熊 北极熊 狗熊
zebra: 斑马
giraffe: 长颈鹿
backpack: 背包 双肩包 书包
umbrella: 伞 雨伞 阳伞 遮阳伞
handbag: 手提包 手提袋
tie: 领带
suitcase: 手提箱 行李箱 旅行箱
frisbee: 飞盘
skis: 双板滑雪板 滑雪板
snowboard: 单板滑雪板 滑雪板
sports ball: 球 皮球
kite: 风筝
baseball bat: 棒球棒 棒球棍 球棒
baseball glove: 棒球手套
skateboard: 滑板
surfboard: 冲浪板
tennis racket: 网球拍 球拍
bottle: 瓶子 酒瓶 水瓶
wine glass: 酒杯 高脚杯 红酒杯
cup: 杯子 茶杯 水杯 咖啡杯 马克杯
fork: 叉子 餐叉
knife: 刀子 餐刀 小刀 菜刀
spoon: 勺子 汤匙 汤勺
bowl: 碗
banana: 香蕉
apple: 苹果
sandwich: 三明治 汉堡 汉堡包
orange: 橙子 橘子
broccoli: 西兰花
carrot: 胡萝卜
hot dog: 热狗
pizza: 披萨 比萨 披萨饼 比萨饼
donut: 甜甜圈
cake: 蛋糕
chair: 椅子 扶手椅 凳子
couch: 沙发
potted plant: 盆栽
bed: 床
dining table: 餐桌
toilet: 马桶
tv: 电视 电视机
laptop: 笔记本电脑
mouse: 鼠标
remote: 遥控器
keyboard: 键盘
cell phone: 手机
microwave: 微波炉
oven: 烤箱
toaster: 烤面包机
sink: 水槽 洗手池 洗脸盆
refrigerator: 冰箱
book: 书 书本 书籍
clock: 时钟 钟表 挂钟 闹钟
vase: 花瓶
scissors: 剪刀
teddy bear: 泰迪熊 玩具熊
hair drier: 吹风机
toothbrush: 牙刷
"""
# These hold a name and mean another thing.
_OTHERS = """
人行道 人行横道 人物 人类 人生 人造 人工 人气 人像 人体 人行 人家 人数 人员
斑马线 马路 马上 河马 海马 木马 马尾 马尾辫 马拉松 马戏 马赛克 马铃薯 马车 马甲 罗马 马球
牛奶 牛仔 牛仔裤 牛仔帽 牛仔布 牛肉 牛排 蜗牛 牛油果 牛角包 牛皮 犀牛 羊毛 羊肉 羊皮 羊绒 山羊 羚羊
熊猫 大熊猫 狗屋 狗窝 狗绳 狗粮 猫粮 鸟巢 鸟笼 鸟瞰 鹅卵石 船员 飞船 飞机场 火车站 地铁站 公交车站
车站 车道 车库 车窗 车轮 车门 车牌 车灯 车厢 车身 车顶 车流 停车场 停车位 手推车 购物车 婴儿车
消防车 救护车 警车 缆车 滑板车 床头柜 床单 床头 河床 降落伞 书架 书桌 书店 书法 书房
苹果树 香蕉树 橙子树 电视台 电视剧 电视柜 电视节目 蛋糕店 沙发垫 碗柜 手机壳 键盘手
"""
# So short that they are names only after one of these.
_AFTER = {
    "人": "个名位群多些几有的",
    "球": "个只颗多少些几",
    "书": "本些多几的",
    "车": "辆台些多几的",
}
_CLASSES = "个只条头匹辆架艘列位名本把张台部块根瓶杯碗盘份朵棵件座盏顶套支枝"
_NUMERAL = r"(?<![第几数多\d])(?P<number>\d{1,4}|[一二两三四五六七八九十]{1,3})"
# `两只棕色的狗`: a number counts what comes soon, but for what these part it from.
_COUNTING = re.compile(rf"{_NUMERAL}[{_CLASSES}][^和与及在有是旁边上里中坐站走跑骑\s、]{{0,6}}$")
_COUNT = re.compile(rf"{_NUMERAL}(?=[{_CLASSES}]|[\s。.！!]*$)")
_DENYING = re.compile(r"没有|没看|没见|看不到|看不见|不是|并非|并不|不存在|未见|缺少|毫无")
_CLAUSE_ENDS = re.compile(r"[。！？；，!?;,\n]")
_HOW_MANY = re.compile(
    r"(?:请问)?在?[这该]?[张幅]?(?:图|图片|图像|照片|画面|画|场景)?(?:中|里|上|里面)?(?:一共|总共|共)?"
    rf"(?:能看到|可以看到|有)(?:多少|几)[{_CLASSES}]?(?P<thing>[^?？呢]+)呢?[?？]?"
)
_IS_THERE = re.compile(
    r"在?[这该]?[张幅]?(?:图|图片|照片|画面)?(?:中|里|上|里面)?(?:有没有|能看到|看得到|有)(?P<thing>[^?？吗]+)"
    r"[吗呢]?[?？]?"
)
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}

Categories = frozenset[str]


class ChineseNames:
    """Names of things, and the categories that each may mean."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """COCO's, and `labels`, each a category of its own unless it is a name of COCO's."""
        others = {word: frozenset[str]() for word in _OTHERS.split()}
        own = {label: frozenset({label}) for label in labels}
        self._names = others | own | _names()
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def categories(self, label: str) -> Categories:
        """What a box's label may mean; none where it is no name."""
        return self._names.get(label, frozenset())

    def mentions(self, text: str) -> Iterator[Mention]:
        """What a text names, in its order."""
        for clause in _CLAUSE_ENDS.split(text):
            denied = _DENYING.search(clause) is not None
            end = 0
            for found in self._pattern.finditer(clause):
                name, before = found[0], clause[end : found.start()]
                end = found.end()
                if self._names[name] and before.endswith(tuple(_AFTER.get(name, ("",)))):
                    yield Mention(name, self._names[name], _count_before(before), denied)

    def asked_for(self, question: str) -> Mention | None:
        """What a question asks the number of, all over the image."""
        found = _HOW_MANY.fullmatch(question.strip())
        return self._mention_of(found["thing"] if found is not None else "")

    def asked_whether(self, question: str) -> Mention | None:
        """What a question asks the presence of, without saying more of it."""
        found = _IS_THERE.fullmatch(question.strip())
        thing = found["thing"] if found is not None else ""
        return self._mention_of(thing)

    def _mention_of(self, name: str) -> Mention | None:
        categories = self._names.get(name, frozenset())
        return Mention(name, categories, None, denied=False) if categories else None


def name_in_chinese(label: str) -> str | None:
    """The first name of the category that an English label is; None: it is none of COCO's."""
    return _firsts().get(label.lower())


@functools.cache
def _firsts() -> dict[str, str]:
    """{category: its first name}."""
    return {category: names[0] for category, names in _lines()}


def number_in(text: str) -> int | None:
    """The first number that counts something, or that ends a text; up to 99 in characters."""
    found = _COUNT.search(text)
    return None if found is None else _value(found["number"])


def _count_before(text: str) -> int | None:
    found = _COUNTING.search(text)
    return None if found is None else _value(found["number"])


def _value(numeral: str) -> int | None:
    if numeral.isdecimal():
        return int(numeral)
    tens, ten, ones = numeral.rpartition("十")
    if not ten:
        return _DIGITS[numeral] if len(numeral) == 1 else None
    if len(tens) > 1 or len(ones) > 1 or "十" in tens:
        return None
    return _DIGITS.get(tens, 1) * 10 + _DIGITS.get(ones, 0)


def _names() -> dict[str, Categories]:
    found: dict[str, Categories] = {}
    for category, names in _lines():
        for name in names:
            found[name] = found.get(name, frozenset()) | {category}
    return found


def _lines() -> Iterator[tuple[str, list[str]]]:
    """Each category with its names."""
    for line in re.sub(r"\n\s+", " ", _CATEGORIES.strip()).splitlines():
        category, _, names = line.partition(": ")
        yield category, names.split()
