"""Captions written by this project: a small grammar, for training without anyone's annotations.

A scene is an activity with the wordings people might choose for it, or one or two of ImageNet's 1000 things; who and
where are drawn. Each caption of a scene tells a part of it in its own way. All phrases below are ours.
Neighbours: ``captions.py`` encodes scenes of any origin, ``train.py`` learns from them.
"""

from __future__ import annotations

import numpy as np
from offline_encoder import class_texts

from text_trained.captions import Scene

SCENES_A_CLASS, SCENES_AN_ACTIVITY, CAPTIONS = 2, 12, 4

WHO = (
    "a man|a guy|someone",
    "a woman|a lady|someone",
    "a boy|a kid|a child",
    "a girl|a young girl|a child",
    "a pair of men|a pair of friends|a team",
    "a pair of women|a pair of friends|somebody",
    "a group of people|a group|a crowd",
    "a young man|a person|a man",
    "an old man|an elderly man|a person",
    "a group of children|a child|a toddler",
    "a couple|a pair of people|a family",
    "a person|somebody|someone",
)
WHERE = (
    *("in a kitchen", "on a street", "in a park", "at home", "in a living room", "on the beach"),
    *("in a forest", "on a stage", "in a garden", "by the sea", "in a gym", "in the snow"),
    *("in a workshop", "on a table", "in a shop", "in a city", "on a field", "near a house"),
    *("at night", "on a road", "under a blue sky", "in the mountains", "in front of a crowd"),
)
THING_FORMS = (
    "{thing}",
    "a close view of {thing}",
    "{thing} {where}",
    "there is {thing} {where}",
    "{thing} is seen {where}",
    "the camera shows {thing}",
    "{who} with {thing}",
    "{who} looking at {thing} {where}",
    "{who} next to {thing}",
    "{thing} and {other}",
    "{thing} beside {other} {where}",
    "{who} near {thing} and {other}",
)
ACTIVITY_FORMS = ("{who} {does}", "{who} {does} {where}", "{where} {who} {does}", "a video of {who} who {does}")
ACTIVITIES = (
    "plays the guitar|strums an acoustic guitar|makes music on a guitar",
    "plays the piano|sits at a piano and plays|presses the keys of a grand piano",
    "plays the drums|drums on a drum kit|beats the drums with sticks",
    "plays the violin|draws a bow over a violin|performs on the violin",
    "plays the flute|blows into a flute|practises the flute",
    "plays the trumpet|blows a trumpet|plays a brass instrument",
    "sings into a microphone|performs a song|sings on stage",
    "slices an onion|chops onions with a knife|cuts an onion on a board",
    "cuts a tomato|slices tomatoes|chops a red tomato into pieces",
    "peels potatoes|takes the skin off a potato|prepares potatoes with a peeler",
    "stirs a soup|stirs a pot on the stove|cooks soup in a big pot",
    "fries an egg|cooks eggs in a pan|breaks an egg into a frying pan",
    "bakes a cake|puts a cake into the oven|prepares a cake batter",
    "kneads dough|works a dough with both hands|makes bread dough",
    "makes a pizza|spreads sauce and cheese on a pizza|puts a pizza into an oven",
    "pours coffee into a cup|makes an espresso|fills a mug with coffee",
    "drinks tea from a cup|sips a hot drink|holds a cup of tea",
    "eats spaghetti with a fork|has pasta for dinner|eats a plate of noodles",
    "eats an ice cream|licks an ice cream cone|enjoys a frozen dessert",
    "mixes a salad|tosses lettuce in a bowl|prepares a green salad",
    "grills meat|turns steaks on a barbecue|roasts meat over a fire",
    "fillets a fish|cleans a fish with a knife|cuts up a fish",
    "mixes a cocktail|shakes drinks behind a bar|pours a cocktail into a glass",
    "opens a bottle of wine|pulls a cork out of a bottle|pours red wine",
    "rides a horse|gallops on horseback|sits in the saddle of a brown horse",
    "rides a bicycle|cycles along a path|pedals a bike",
    "does tricks on a mountain bike|jumps with a bike|races downhill on a bicycle",
    "rides a motorcycle|drives a motorbike|speeds on a motorcycle",
    "drives a car|steers a car|sits behind the wheel",
    "races a sports car|drifts with a fast car|drives a racing car on a track",
    "washes a car|soaps a car|sprays a car with water",
    "repairs an engine|works under the hood of a car|fixes a motor with a wrench",
    "drives a tractor|ploughs a field with a tractor|sits on a tractor",
    "waits for a train|watches a train come into the station|gets on a train",
    "rows a boat|paddles a small boat|moves a boat with oars",
    "paddles a canoe|steers a kayak down a river|goes down the rapids in a kayak",
    "sails a boat|sails across the water|hoists a sail",
    "surfs a wave|stands on a surfboard|rides big waves",
    "swims in a pool|does laps in a swimming pool|swims in the water",
    "dives among corals|swims under water with a tank|scuba dives over a reef",
    "catches a fish|goes fishing with a rod|pulls a fish out of the water",
    "skis down a slope|races on skis|goes skiing",
    "rides a snowboard|jumps with a snowboard|goes snowboarding",
    "skates on ice|glides over the ice on skates|does figure skating",
    "plays ice hockey|shoots a puck|plays hockey on an ice rink",
    "rides a skateboard|does skateboard tricks|jumps with a skateboard",
    "plays soccer|kicks a football|scores a goal",
    "plays basketball|throws a ball into the basket|dribbles a basketball",
    "plays volleyball|hits a ball over a net|plays volleyball with a team",
    "plays tennis|hits a tennis ball with a racket|serves on a tennis court",
    "plays table tennis|plays ping-pong|hits a ping-pong ball",
    "plays baseball|swings a baseball bat|throws a baseball",
    "plays golf|hits a golf ball|putts on a golf course",
    "plays rugby|runs with a rugby ball|tackles another player",
    "plays cricket|bats in a cricket match|bowls a cricket ball",
    "bowls|rolls a ball at the pins|plays bowling",
    "plays billiards|hits a ball with a cue|plays pool",
    "boxes|punches a bag|fights in a boxing ring",
    "wrestles|fights on a mat|throws an opponent to the ground",
    "practises martial arts|kicks in a karate class|does a taekwondo kick",
    "fences|fights with swords|attacks with a foil",
    "shoots with a rifle|aims a gun at a target|fires a weapon",
    "shoots an arrow|draws a bow|practises archery",
    "lifts weights|raises a barbell|trains with dumbbells",
    "does gymnastics|swings on the bars|does a somersault on a mat",
    "does yoga|stretches on a mat|holds a yoga pose",
    "runs a race|jogs|sprints along a track",
    "climbs a rock|climbs a steep wall with a rope|goes rock climbing",
    "hikes up a mountain|walks on a trail|carries a backpack uphill",
    "puts up a tent|camps|sits beside a tent",
    "jumps with a parachute|skydives|falls from an airplane",
    "flies a kite|holds the string of a kite|lets a kite rise",
    "flies a drone|steers a small helicopter|controls a flying toy",
    "boards an airplane|watches an airliner take off|walks to a plane",
    "dances|dances to music|shows dance steps",
    "dances ballet|does a pirouette|performs in a ballet",
    "marches in a parade|walks with a band|plays in a marching band",
    "talks to the camera|gives an interview|speaks to the viewers",
    "gives a speech|talks at a lectern|addresses an audience",
    "reads the news|presents a television show|talks in a studio",
    "reads a book|turns the pages of a book|studies in a library",
    "writes in a notebook|writes with a pen|takes notes",
    "draws with a pencil|sketches a face|makes a drawing",
    "paints a picture|paints on a canvas|holds a paintbrush",
    "paints a wall|rolls paint on a wall|decorates a room",
    "models clay|shapes a pot on a wheel|makes pottery",
    "knits|knits a sweater|works with wool and needles",
    "sews a dress|uses a sewing machine|stitches cloth",
    "folds paper|makes an origami figure|folds a sheet of paper",
    "wraps a present|ties a ribbon around a box|packs a gift",
    "opens a box|unpacks a parcel|shows what is in a box",
    "types on a keyboard|works on a laptop|uses a computer",
    "uses a smartphone|talks on a phone|shows a mobile phone",
    "plays a video game|holds a game controller|plays on a console",
    "takes pictures with a camera|photographs something|sets up a camera on a tripod",
    "plays chess|moves a piece on a chessboard|thinks about a chess move",
    "solves a puzzle|turns a cube puzzle|puts the pieces of a jigsaw together",
    "builds with bricks|plays with toy blocks|builds a toy tower",
    "plays with a doll|dresses a doll|plays with toys",
    "blows out candles|lights candles|celebrates a birthday with a cake",
    "decorates a Christmas tree|hangs balls on a Christmas tree|stands by a decorated tree",
    "lights a fire|sits around a campfire|watches the flames",
    "smokes a cigarette|lights a cigarette|blows smoke",
    "puts on lipstick|applies make-up|paints the lips",
    "brushes the hair|combs long hair|has a new hairstyle",
    "cuts hair|gets a haircut|trims hair with scissors",
    "shaves|shaves a beard|uses a razor",
    "washes the hands|holds the hands under a tap|cleans the hands with soap",
    "brushes teeth|cleans the teeth|holds a toothbrush",
    "washes the dishes|cleans plates in a sink|dries dishes",
    "vacuums the floor|cleans a carpet|pushes a vacuum cleaner",
    "mops the floor|sweeps the floor with a broom|cleans up a room",
    "irons a shirt|presses clothes|uses an iron",
    "tries on shoes|laces up shoes|shows a pair of sneakers",
    "tries on a dress|models clothes|walks on a catwalk in a gown",
    "mows the lawn|cuts the grass|pushes a lawn mower",
    "plants flowers|digs in a flower bed|waters the plants",
    "cuts down a tree|uses a chain saw|saws a trunk",
    "chops wood|splits logs with an axe|makes firewood",
    "saws a board|works with wood|builds a shelf",
    "hammers a nail|drills a hole|uses a power drill",
    "welds metal|works with sparks flying|forges iron",
    "lays bricks|builds a wall|mixes concrete",
    "picks apples|harvests fruit|gathers fruit in a basket",
    "shops for vegetables|sells fruit at a market|stands at a market stall",
    "walks a dog|plays with a dog|throws a stick for a dog",
    "bathes a dog|washes a puppy|dries a wet dog",
    "pets a cat|plays with a kitten|holds a cat",
    "feeds birds|watches the birds|holds a parrot",
    "feeds a horse|brushes a horse|leads a horse",
    "milks a cow|feeds the cows|stands among cattle",
    "shears a sheep|herds sheep|feeds a lamb",
    "holds a snake|shows a lizard|touches a reptile",
    "watches fish in an aquarium|feeds goldfish|looks at sharks behind glass",
    "watches elephants|rides an elephant|washes an elephant",
    "watches lions|films a tiger|looks at wild cats",
    "looks at monkeys|feeds a monkey|watches a gorilla",
    "examines a patient|listens with a stethoscope|works in a hospital",
    "works in a laboratory|looks through a microscope|mixes liquids in a beaker",
    "teaches a class|writes on a blackboard|explains something at a board",
    "prays in a church|walks into a cathedral|visits a temple",
    "gets married|wears a wedding dress|dances at a wedding",
    "holds a baby|feeds a baby|rocks a cradle",
    "pushes a stroller|pushes a shopping cart|carries bags",
    "sleeps in a bed|lies on a sofa|takes a nap",
    "rides a roller coaster|goes on a fairground ride|sits on a carousel",
    "plays on a swing|slides down a slide|plays on a playground",
    "jumps on a trampoline|bounces up and down|jumps rope",
    "juggles balls|does a magic trick|performs as a clown",
    "wears a costume|puts on a mask|dresses up as a superhero",
    "stands guard in uniform|marches as a soldier|salutes",
    "puts out a fire|sprays water from a fire truck|works as a firefighter",
    "stops the traffic|gets out of a police car|arrests a man",
    "digs with an excavator|moves earth with a machine|works on a building site",
    "launches a rocket|watches a rocket rise|floats in a space suit",
    "walks along the shore|lies in the sand|builds a sand castle",
    "looks over a valley|stands on a cliff|watches a waterfall",
    "walks in the rain|holds an umbrella|stands in a storm",
    "crosses a bridge|looks at a skyline|walks through a busy street",
)
ANIMALS_DO = ("is running", "is sleeping", "is eating", "looks around", "is playing", "is walking", "drinks water")
_ANIMALS = 398
"""ImageNet's first classes, of which animals are all."""


def written_scenes() -> list[Scene]:
    """The same scenes at every start."""
    random = np.random.default_rng(0)
    names = [_with_article(text.split(":")[0].lower()) for text in class_texts()]
    things = [_of_thing(names, thing, random) for thing in range(len(names)) for _ in range(SCENES_A_CLASS)]
    activities = [_of_activity(wordings, random) for wordings in ACTIVITIES for _ in range(SCENES_AN_ACTIVITY)]
    return [Scene(video, "written", captions) for video, captions in enumerate(things + activities)]


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _of_thing(names: list[str], thing: int, random: np.random.Generator) -> tuple[str, ...]:
    who, where = random.choice(WHO).split("|"), random.choice(WHERE)
    other = names[random.integers(len(names))]
    forms = list(random.permutation(THING_FORMS))
    if thing < _ANIMALS:
        forms[0] = f"{{thing}} {random.choice(ANIMALS_DO)} {{where}}"
    captions = [
        form.format(thing=names[thing], other=other, who=random.choice(who), where=where) for form in forms[:CAPTIONS]
    ]
    return tuple(dict.fromkeys(captions))


def _of_activity(wordings: str, random: np.random.Generator) -> tuple[str, ...]:
    who, where = random.choice(WHO).split("|"), random.choice(WHERE)
    captions = [
        random.choice(ACTIVITY_FORMS).format(who=random.choice(who), where=where, does=does)
        for does in random.permutation(wordings.split("|"))
    ]
    return tuple(dict.fromkeys(captions))
